// Reward functions by name, with their parameters and keys checked.
#include "rl/reward/functions.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <span>

#include "models/errors.h"
#include "rl/reward/answer_functions.h"
#include "rl/reward/text_functions.h"
#include "rl/statistics/words.h"

namespace leash {
namespace {

struct Parameter {
  std::string_view name;
  double min;
  bool open = false;   // the minimum itself is too little
  bool whole = false;  // has to be a whole number
};
constexpr Parameter kDistinctWords[] = {{"cap", 1}};
constexpr Parameter kLength[] = {{"target", 0}, {"tolerance", 0}};
constexpr Parameter kNumeric[] = {{"tolerance", 0}, {"percent", 0, /*open=*/true}};
constexpr Parameter kRepetition[] = {{"n", 1, false, /*whole=*/true}};

std::span<const Parameter> parameters_of(RewardFunctionKind kind) {
  switch (kind) {
    case RewardFunctionKind::distinct_words:
      return kDistinctWords;
    case RewardFunctionKind::length:
      return kLength;
    case RewardFunctionKind::numeric_answer:
      return kNumeric;
    case RewardFunctionKind::repetition:
      return kRepetition;
    case RewardFunctionKind::distinct_bigrams:
    case RewardFunctionKind::exact_answer:
    case RewardFunctionKind::regex:
    case RewardFunctionKind::json_schema:
    case RewardFunctionKind::lexicon:
    case RewardFunctionKind::language:
      return {};
  }
  TORCH_CHECK(false, "unknown reward function");
}

// The keys that a function reads beside its parameters.
std::vector<std::string_view> keys_of(RewardFunctionKind kind) {
  switch (kind) {
    case RewardFunctionKind::distinct_words:
      return {"words"};
    case RewardFunctionKind::length:
      return {"column", "unit"};
    case RewardFunctionKind::numeric_answer:
      return {"column", "extract", "marker"};
    case RewardFunctionKind::exact_answer:
      return {"column", "extract", "marker", "ignore_case"};
    case RewardFunctionKind::regex:
      return {"pattern", "column"};
    case RewardFunctionKind::json_schema:
      return {"schema", "column"};
    case RewardFunctionKind::repetition:
      return {"unit"};
    case RewardFunctionKind::lexicon:
      return {"words", "lexicon", "column"};
    case RewardFunctionKind::language:
      return {"scripts", "column"};
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

void check_parameter(const std::string& name, double value, const Parameter& known,
                     Problems& problems) {
  const bool enough = known.open ? value > known.min : value >= known.min;
  if (!enough || !std::isfinite(value)) {
    problems.push_back(fmt::format("parameters.{}: has to be {} {}, not {}", name,
                                   known.open ? "above" : "at least", known.min, value));
  } else if (known.whole && (std::trunc(value) != value || value > 1000)) {
    problems.push_back(
        fmt::format("parameters.{}: has to be a whole number up to 1000, not {}", name, value));
  }
}

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
    } else {
      check_parameter(name, value, *found, problems);
    }
  }
}

// What the function cannot do without, or has twice.
void check_source(const RewardConfig& config, RewardFunctionKind kind, Problems& problems) {
  const bool column = config.column.has_value();
  const auto one_of = [&](const char* key, bool given, const char* what) {
    if (given && column) {
      problems.push_back(fmt::format("column: stands beside {}; take one of them", key));
    } else if (!given && !column) {
      problems.push_back(fmt::format("{}: {} needs {}", key, *config.name, what));
    }
  };
  switch (kind) {
    case RewardFunctionKind::distinct_words:
      if (config.words.empty()) {
        problems.push_back(fmt::format("words: {} needs a list of words", *config.name));
      }
      return;
    case RewardFunctionKind::length:
      return one_of("parameters.target", config.parameters.contains("target"),
                    "it (or a column that holds it)");
    case RewardFunctionKind::numeric_answer:
    case RewardFunctionKind::exact_answer:
      if (!column) {
        problems.push_back(
            fmt::format("column: {} needs the column with the right answer", *config.name));
      }
      return;
    case RewardFunctionKind::regex:
      return one_of("pattern", config.pattern.has_value(), "one (or a column that holds it)");
    case RewardFunctionKind::json_schema:
      return one_of("schema", !config.schema.text.empty(), "one (or a column that holds it)");
    case RewardFunctionKind::lexicon:
      return one_of(config.words.empty() ? "lexicon" : "words",
                    !config.words.empty() || !config.lexicon.empty(),
                    "values of words (or words, or a column)");
    case RewardFunctionKind::language:
      return one_of("scripts", !config.scripts.empty(), "a list (or a column)");
    case RewardFunctionKind::distinct_bigrams:
    case RewardFunctionKind::repetition:
      return;
  }
}

void check_keys(const RewardConfig& config, RewardFunctionKind kind, Problems& problems) {
  const auto known = keys_of(kind);
  const auto reads = [&](std::string_view key) {
    return std::ranges::find(known, key) != known.end();
  };
  for (const auto& [key, given] : given_function_keys(config)) {
    if (key == "name" || key == "parameters" || !given || reads(key)) continue;
    problems.push_back(fmt::format("{}: has no effect on {}", key, *config.name));
  }
  for (const std::string& word : config.words) {
    if (reads("words") && words_of(word).size() != 1) {
      problems.push_back(fmt::format("words: \"{}\" is not one word", word));
    }
  }
  for (const auto& [word, value] : config.lexicon) {
    if (!reads("lexicon")) break;
    if (words_of(word).size() != 1) {
      problems.push_back(fmt::format("lexicon: \"{}\" is not one word", word));
    }
    if (!std::isfinite(value)) {
      problems.push_back(fmt::format("lexicon.{}: has to be a finite number", word));
    }
  }
  if (config.marker && reads("marker")) {
    if (config.extract != Extract::marker) {
      problems.emplace_back("marker: has no effect without extract: marker");
    } else if (config.marker->empty()) {
      problems.emplace_back("marker: is empty");
    }
  }
}

Scorer make_scorer(const RewardConfig& config, RewardFunctionKind kind) {
  switch (kind) {
    case RewardFunctionKind::distinct_words:
      return distinct_words_reward(config);
    case RewardFunctionKind::length:
      return length_reward(config);
    case RewardFunctionKind::distinct_bigrams:
      return distinct_bigrams_reward();
    case RewardFunctionKind::numeric_answer:
      return numeric_answer(config);
    case RewardFunctionKind::exact_answer:
      return exact_answer(config);
    case RewardFunctionKind::regex:
      return regex_reward(config);
    case RewardFunctionKind::json_schema:
      return json_schema_reward(config);
    case RewardFunctionKind::repetition:
      return repetition_reward(config);
    case RewardFunctionKind::lexicon:
      return lexicon_reward(config);
    case RewardFunctionKind::language:
      return language_reward(config);
  }
  TORCH_CHECK(false, "unknown reward function");
}

// What only making it shows: a pattern, a schema, a script that is not understood.
void check_by_making(const RewardConfig& config, RewardFunctionKind kind, Problems& problems) {
  const char* key = kind == RewardFunctionKind::regex         ? "pattern"
                    : kind == RewardFunctionKind::json_schema ? "schema"
                                                              : "scripts";
  try {
    make_scorer(config, kind);
  } catch (const ConfigError& error) {
    problems.push_back(fmt::format("{}: {}", key, error.what()));
  } catch (const FormatError& error) {
    problems.push_back(fmt::format("{}: {}", key, error.what()));
  }
}

}  // namespace

std::vector<std::string> reward_function_names() {
  std::vector<std::string> names;
  for (const auto& [kind, name] : EnumNames<RewardFunctionKind>::values) names.emplace_back(name);
  return names;
}

std::vector<std::pair<std::string, bool>> given_function_keys(const RewardConfig& config) {
  return {{"name", config.name.has_value()},       {"parameters", !config.parameters.empty()},
          {"words", !config.words.empty()},        {"column", config.column.has_value()},
          {"extract", config.extract.has_value()}, {"marker", config.marker.has_value()},
          {"pattern", config.pattern.has_value()}, {"unit", config.unit.has_value()},
          {"schema", !config.schema.text.empty()}, {"lexicon", !config.lexicon.empty()},
          {"scripts", !config.scripts.empty()},    {"ignore_case", config.ignore_case}};
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
  check_source(config, *kind, problems);
  check_keys(config, *kind, problems);
  if (problems.empty()) check_by_making(config, *kind, problems);
  return problems;
}

RewardFunction::RewardFunction(const RewardConfig& config) {
  const Problems problems = reward_function_problems(config);
  if (!problems.empty()) throw ConfigError(fmt::format("{}", fmt::join(problems, "\n")));
  scorer_ = make_scorer(config, *kind_of(*config.name));
}

}  // namespace leash
