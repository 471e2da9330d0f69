#include "rl/reward/command.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string_view>

#include "models/printable.h"
#include "rl/reward/program.h"

namespace leash {
namespace {

// What a number on a line of its own can need (1e308 written out has 309 digits), and a margin.
constexpr size_t kBytesPerAnswer = 512;
constexpr size_t kMoreBytes = 64 << 10;

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

}  // namespace

std::vector<double> parse_scores(std::string_view output, size_t count) {
  std::vector<double> scores;
  while (!output.empty()) {
    const std::string_view line = output.substr(0, output.find('\n'));
    const auto value = number_of(line);
    if (!value) {
      throw std::runtime_error(
          fmt::format("printed `{}` where a number was expected", printable(line)));
    }
    scores.push_back(*value);
    output.remove_prefix(std::min(line.size() + 1, output.size()));
  }
  if (scores.size() == count) return scores;
  throw std::runtime_error(fmt::format("printed {} numbers for {} answers", scores.size(), count));
}

std::vector<double> CommandReward::score(const std::vector<RewardSample>& samples) const {
  if (samples.empty()) return {};  // a rank may have none
  std::string lines;
  for (const RewardSample& sample : samples) {
    lines +=
        nlohmann::ordered_json{
            {"prompt", sample.prompt}, {"answer", sample.answer}, {"ended", sample.ended}}
            .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) +
        "\n";
  }
  const std::string answer = run_program(
      command_, lines,
      {.seconds = timeout_seconds_, .output_bytes = kMoreBytes + kBytesPerAnswer * samples.size()});
  try {
    return parse_scores(answer, samples.size());
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(fmt::format("the reward command `{}` {}", command_, error.what()));
  }
}

}  // namespace leash
