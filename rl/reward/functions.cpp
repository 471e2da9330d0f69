// Reward functions by name, with their parameters checked.
#include "rl/reward/functions.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <span>

#include "models/errors.h"
#include "rl/statistics/words.h"

namespace leash {
namespace {

struct Parameter {
  std::string_view name;
  double min;
  std::optional<double> fallback;  // none: has to be given
};
constexpr Parameter kDistinctWords[] = {{"cap", 1, std::numeric_limits<double>::infinity()}};
constexpr Parameter kLength[] = {{"target", 0, std::nullopt}, {"tolerance", 0, 0.0}};

std::span<const Parameter> parameters_of(RewardFunctionKind kind) {
  switch (kind) {
    case RewardFunctionKind::distinct_words:
      return kDistinctWords;
    case RewardFunctionKind::length:
      return kLength;
    case RewardFunctionKind::distinct_bigrams:
      return {};
  }
  TORCH_CHECK(false, "unknown reward function");
}

std::optional<RewardFunctionKind> kind_of(const std::string& name) {
  for (const auto& [kind, known] : EnumNames<RewardFunctionKind>::values) {
    if (known == name) return kind;
  }
  return std::nullopt;
}

using Problems = std::vector<std::string>;

void check_parameters(const RewardConfig& config, std::span<const Parameter> known,
                      Problems& problems) {
  for (const auto& [name, value] : config.parameters) {
    const auto found = std::find_if(known.begin(), known.end(),
                                    [&name = name](const Parameter& p) { return p.name == name; });
    if (found == known.end()) {
      std::vector<std::string_view> names;
      for (const Parameter& parameter : known) names.push_back(parameter.name);
      problems.push_back(
          fmt::format("parameters.{}: {} has no such parameter (it has: {})", name, *config.name,
                      names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "))));
    } else if (!(value >= found->min) || !std::isfinite(value)) {
      problems.push_back(
          fmt::format("parameters.{}: has to be at least {}, not {}", name, found->min, value));
    }
  }
  for (const Parameter& parameter : known) {
    if (!parameter.fallback && !config.parameters.contains(std::string(parameter.name))) {
      problems.push_back(fmt::format("parameters.{}: {} needs it", parameter.name, *config.name));
    }
  }
}

void check_words(const RewardConfig& config, bool needs_words, Problems& problems) {
  if (!needs_words && !config.words.empty()) {
    problems.push_back(fmt::format("words: has no effect on {}", *config.name));
  }
  if (needs_words && config.words.empty()) {
    problems.push_back(fmt::format("words: {} needs a list of words", *config.name));
  }
  for (const std::string& word : config.words) {
    if (needs_words && words_of(word).size() != 1) {
      problems.push_back(fmt::format("words: \"{}\" is not one word", word));
    }
  }
}

}  // namespace

std::vector<std::string> reward_function_names() {
  std::vector<std::string> names;
  for (const auto& [kind, name] : EnumNames<RewardFunctionKind>::values) names.emplace_back(name);
  return names;
}

std::vector<std::string> reward_function_problems(const RewardConfig& config) {
  const std::string known = fmt::format("{}", fmt::join(reward_function_names(), ", "));
  if (!config.name) return {fmt::format("name: a function needs one of {}", known)};
  const auto kind = kind_of(*config.name);
  if (!kind) {
    return {fmt::format("name: there is no function \"{}\" (there are: {})", *config.name, known)};
  }
  Problems problems;
  check_parameters(config, parameters_of(*kind), problems);
  check_words(config, *kind == RewardFunctionKind::distinct_words, problems);
  return problems;
}

RewardFunction::RewardFunction(const RewardConfig& config) {
  const Problems problems = reward_function_problems(config);
  if (!problems.empty()) throw ConfigError(fmt::format("{}", fmt::join(problems, "\n")));
  kind_ = *kind_of(*config.name);
  for (const std::string& word : config.words) words_.insert(words_of(word).front());
  for (const Parameter& known : parameters_of(kind_)) {
    const auto given = config.parameters.find(std::string(known.name));
    const double value = given != config.parameters.end() ? given->second : *known.fallback;
    if (known.name == "cap") cap_ = value;
    if (known.name == "target") target_ = value;
    if (known.name == "tolerance") tolerance_ = value;
  }
}

double RewardFunction::operator()(std::string_view answer) const {
  const std::vector<std::string> words = words_of(answer);
  switch (kind_) {
    case RewardFunctionKind::distinct_words: {
      std::set<std::string_view> found;
      for (const std::string& word : words) {
        if (words_.contains(word)) found.insert(word);
      }
      return std::min(cap_, static_cast<double>(found.size()));
    }
    case RewardFunctionKind::length: {
      const double distance = std::abs(static_cast<double>(words.size()) - target_);
      return -std::max(0.0, distance - tolerance_);
    }
    case RewardFunctionKind::distinct_bigrams:
      return distinct_bigram_share(words);
  }
  TORCH_CHECK(false, "unknown reward function");
}

}  // namespace leash
