#include "rl/reward/answer_functions.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "models/errors.h"
#include "models/printable.h"
#include "rl/answers/column.h"
#include "rl/answers/extract.h"
#include "rl/answers/numbers.h"

namespace leash {
namespace {

// What both functions know of their settings.
struct AnswerRules {
  std::string column;
  Extract extract;
  std::string marker;
  double tolerance;
  NumberRules numbers;
  bool ignore_case;
};

AnswerRules answer_rules(const RewardConfig& config, Extract otherwise) {
  const auto parameter = [&](const char* name, double fallback) {
    const auto found = config.parameters.find(name);
    return found == config.parameters.end() ? fallback : found->second;
  };
  return {.column = config.column.value(),
          .extract = config.extract.value_or(otherwise),
          .marker = config.marker.value_or("####"),
          .tolerance = parameter("tolerance", 0),
          .numbers = {.percent = parameter("percent", 100)},
          .ignore_case = config.ignore_case};
}

std::optional<FoundNumber> number_of_answer(std::string_view text, const AnswerRules& rules) {
  switch (rules.extract) {
    case Extract::whole:
      return only_number(text, rules.numbers);
    case Extract::boxed: {
      const auto boxed = last_boxed(text);
      return boxed ? only_number(*boxed, rules.numbers) : std::nullopt;
    }
    case Extract::marker: {
      const auto rest = behind_last(text, rules.marker);
      if (!rest) return std::nullopt;
      const auto numbers = numbers_in(*rest, rules.numbers).numbers;
      return numbers.empty() ? std::nullopt : std::optional(numbers.front());
    }
    case Extract::last:
      break;
  }
  const auto numbers = numbers_in(text, rules.numbers).numbers;
  return numbers.empty() ? std::nullopt : std::optional(numbers.back());
}

std::vector<FoundNumber> right_numbers(const nlohmann::ordered_json* row,
                                       const AnswerRules& rules) {
  const nlohmann::ordered_json& value = column_of(row, rules.column);
  std::vector<FoundNumber> numbers;
  for (const std::string& text : column_texts(value, rules.column)) {
    auto number = only_number(text, rules.numbers);
    if (!number) number = number_of_answer(text, rules);
    if (!number) {
      throw FormatError(fmt::format("the column `{}` holds no number: {}", printable(rules.column),
                                    printable(text, 40)));
    }
    numbers.push_back(*number);
  }
  return numbers;
}

// The first line of `rest` that is not empty, without its full stop.
std::string_view line_of(std::string_view rest) {
  constexpr std::string_view kSpaces = " \t\r\n";
  rest.remove_prefix(std::min(rest.find_first_not_of(kSpaces), rest.size()));
  rest = rest.substr(0, rest.find('\n'));
  rest = rest.substr(0, rest.find_last_not_of(kSpaces) + 1);
  if (rest.ends_with('.')) rest.remove_suffix(1);
  return rest;
}

std::string comparable(std::string_view text, const AnswerRules& rules) {
  return rules.extract == Extract::boxed ? comparable_formula(text, rules.ignore_case)
                                         : comparable_text(text, rules.ignore_case);
}

std::optional<std::string> text_of_answer(std::string_view text, const AnswerRules& rules) {
  switch (rules.extract) {
    case Extract::whole:
      break;
    case Extract::boxed: {
      const auto boxed = last_boxed(text);
      return boxed ? std::optional(comparable(*boxed, rules)) : std::nullopt;
    }
    case Extract::marker: {
      const auto rest = behind_last(text, rules.marker);
      return rest ? std::optional(comparable(line_of(*rest), rules)) : std::nullopt;
    }
    case Extract::last: {
      const auto numbers = numbers_in(text, rules.numbers).numbers;
      return numbers.empty() ? std::nullopt : std::optional(numbers.back().text);
    }
  }
  return comparable(text, rules);
}

std::vector<std::string> right_texts(const nlohmann::ordered_json* row, const AnswerRules& rules) {
  std::vector<std::string> texts;
  for (std::string text : column_texts(column_of(row, rules.column), rules.column)) {
    const bool inside = rules.extract == Extract::boxed || rules.extract == Extract::marker;
    auto found = inside ? text_of_answer(text, rules) : std::nullopt;
    if (!found && rules.extract == Extract::marker) text = line_of(text);
    if (!found) found = comparable(text, rules);
    if (found->empty()) {
      throw FormatError(fmt::format("the column `{}` is empty", printable(rules.column)));
    }
    texts.push_back(std::move(*found));
  }
  return texts;
}

}  // namespace

Scorer numeric_answer(const RewardConfig& config) {
  const AnswerRules rules = answer_rules(config, Extract::last);
  return {.score =
              [rules](const RewardSample& sample) {
                const auto given = number_of_answer(sample.answer, rules);
                if (!given) return 0.0;
                const auto right = right_numbers(sample.row.get(), rules);
                return std::ranges::any_of(right,
                                           [&](const FoundNumber& number) {
                                             return equal_numbers(*given, number, rules.tolerance);
                                           })
                           ? 1.0
                           : 0.0;
              },
          .check_row = [rules](const nlohmann::ordered_json* row) { right_numbers(row, rules); }};
}

Scorer exact_answer(const RewardConfig& config) {
  const AnswerRules rules = answer_rules(config, Extract::whole);
  return {.score =
              [rules](const RewardSample& sample) {
                const auto given = text_of_answer(sample.answer, rules);
                const auto right = right_texts(sample.row.get(), rules);
                return given && std::ranges::find(right, *given) != right.end() ? 1.0 : 0.0;
              },
          .check_row = [rules](const nlohmann::ordered_json* row) { right_texts(row, rules); }};
}

}  // namespace leash
