#include "rl/judges/replies.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>

#include "models/errors.h"
#include "models/io/json_file.h"
#include "models/printable.h"

namespace leash {
namespace {

// A whole line as one finite decimal number; none where it is anything else.
std::optional<double> number_of(std::string_view line) {
  constexpr std::string_view kBlanks = " \t\r";
  line.remove_prefix(std::min(line.find_first_not_of(kBlanks), line.size()));
  line = line.substr(0, line.find_last_not_of(kBlanks) + 1);
  if (line.starts_with('+') && !line.starts_with("+-")) line.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), value);
  const bool whole = error == std::errc() && end == line.data() + line.size();
  return whole && std::isfinite(value) ? std::optional(value) : std::nullopt;
}

std::runtime_error not_a_number(std::string_view line) {
  return std::runtime_error(
      fmt::format("printed `{}` where a number was expected", printable(line)));
}

double score_of_object(std::string_view line, size_t index) {
  nlohmann::json json;
  try {
    json = parse_json(line, "the reply");
  } catch (const FormatError&) {
    throw not_a_number(line);
  }
  if (const auto error = json.find("error"); error != json.end()) {
    const std::string text = error->is_string() ? error->get<std::string>() : error->dump();
    throw std::runtime_error(fmt::format("says of answer {}: {}", index + 1, printable(text, 500)));
  }
  const auto score = json.find("score");
  if (score == json.end() || !score->is_number() || !std::isfinite(score->get<double>())) {
    throw not_a_number(line);
  }
  if (const auto sent = json.find("index"); sent != json.end() && *sent != index) {
    throw std::runtime_error(
        fmt::format("answered index {} where {} was next", printable(sent->dump()), index));
  }
  return score->get<double>();
}

}  // namespace

double parse_score(std::string_view line, size_t index) {
  if (line.starts_with('{')) return score_of_object(line, index);
  const auto value = number_of(line);
  if (!value) throw not_a_number(line);
  return *value;
}

std::vector<double> parse_scores(std::string_view output, size_t count) {
  std::vector<double> scores;
  while (!output.empty()) {
    const std::string_view line = output.substr(0, output.find('\n'));
    scores.push_back(parse_score(line, scores.size()));
    output.remove_prefix(std::min(line.size() + 1, output.size()));
  }
  if (scores.size() == count) return scores;
  throw std::runtime_error(fmt::format("printed {} numbers for {} answers", scores.size(), count));
}

std::vector<double> parse_score_list(std::string_view body, size_t count) {
  nlohmann::json json;
  try {
    json = parse_json(body, "the reply");
  } catch (const FormatError& error) {
    throw std::runtime_error(fmt::format("{}: `{}`", error.what(), printable(body)));
  }
  const nlohmann::json* list = &json;
  if (json.is_object()) {
    const auto found = json.find("scores");
    if (found == json.end()) {
      throw std::runtime_error(fmt::format("the reply has no `scores`: `{}`", printable(body)));
    }
    list = &*found;
  }
  if (!list->is_array()) {
    throw std::runtime_error(fmt::format("the reply has no list of scores: `{}`", printable(body)));
  }
  if (list->size() != count) {
    throw std::runtime_error(
        fmt::format("the reply has {} scores for {} answers", list->size(), count));
  }
  std::vector<double> scores;
  for (const nlohmann::json& score : *list) {
    if (!score.is_number() || !std::isfinite(score.get<double>())) {
      throw std::runtime_error(fmt::format(
          "the score of answer {} is {}, no finite number", scores.size() + 1,
          printable(score.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace))));
    }
    scores.push_back(score.get<double>());
  }
  return scores;
}

}  // namespace leash
