// Rewards that need no model: short deterministic functions of the answer.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/fields.h"
#include "rl/reward/config.h"
#include "rl/reward/sample.h"
#include "rl/reward/scorer.h"

namespace leash {

// With W the answer's words (words_of in rl/statistics/words.h: case-folded) and L its length in
// `unit` (words; tokens: as sampled, the one that ended it included; characters: code points):
//   distinct_words    min(cap, number of different entries of `words` that occur in W as whole
//                     words). Repeats count once, so neither repetition nor length alone reaches
//                     it.
//   length            -max(0, |L - target| - tolerance); the target is a parameter or a column
//   distinct_bigrams  number of different pairs of neighbouring words / (|W| - 1); 0 when |W| < 2
//   numeric_answer, exact_answer   rl/reward/answer_functions.h
//   regex, json_schema, repetition, lexicon, language   rl/reward/text_functions.h
enum class RewardFunctionKind {
  distinct_words,
  length,
  distinct_bigrams,
  numeric_answer,
  exact_answer,
  regex,
  json_schema,
  repetition,
  lexicon,
  language
};
template <>
struct EnumNames<RewardFunctionKind> {
  static constexpr std::pair<RewardFunctionKind, std::string_view> values[] = {
      {RewardFunctionKind::distinct_words, "distinct_words"},
      {RewardFunctionKind::length, "length"},
      {RewardFunctionKind::distinct_bigrams, "distinct_bigrams"},
      {RewardFunctionKind::numeric_answer, "numeric_answer"},
      {RewardFunctionKind::exact_answer, "exact_answer"},
      {RewardFunctionKind::regex, "regex"},
      {RewardFunctionKind::json_schema, "json_schema"},
      {RewardFunctionKind::repetition, "repetition"},
      {RewardFunctionKind::lexicon, "lexicon"},
      {RewardFunctionKind::language, "language"}};
};

std::vector<std::string> reward_function_names();

// What is wrong with the name, parameters, words and other keys of a `kind: function` reward; empty
// when nothing is.
std::vector<std::string> reward_function_problems(const RewardConfig& config);

// The keys that functions alone read, and whether each was given.
std::vector<std::pair<std::string, bool>> given_function_keys(const RewardConfig& config);

class RewardFunction {
 public:
  // Throws ConfigError with all problems.
  explicit RewardFunction(const RewardConfig& config);

  double operator()(const RewardSample& sample) const { return scorer_.score(sample); }
  double operator()(std::string_view answer) const {
    return (*this)(RewardSample{.answer = std::string(answer)});
  }
  // FormatError where the record of a prompt (nullptr: it has none) lacks what it needs.
  void check_row(const nlohmann::ordered_json* row) const {
    if (scorer_.check_row) scorer_.check_row(row);
  }

 private:
  Scorer scorer_;
};

}  // namespace leash
