// Rewards that need no model: short deterministic functions of the answer's text.
#pragma once

#include <limits>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/fields.h"
#include "rl/reward/config.h"

namespace leash {

// With W the answer's words (words_of in rl/statistics/words.h: case-folded):
//   distinct_words    min(cap, number of different entries of `words` that occur in W as whole
//                     words). Repeats count once, so neither repetition nor length alone reaches
//                     it.
//   length            -max(0, | |W| - target | - tolerance)
//   distinct_bigrams  number of different pairs of neighbouring words / (|W| - 1); 0 when |W| < 2
enum class RewardFunctionKind { distinct_words, length, distinct_bigrams };
template <>
struct EnumNames<RewardFunctionKind> {
  static constexpr std::pair<RewardFunctionKind, std::string_view> values[] = {
      {RewardFunctionKind::distinct_words, "distinct_words"},
      {RewardFunctionKind::length, "length"},
      {RewardFunctionKind::distinct_bigrams, "distinct_bigrams"}};
};

std::vector<std::string> reward_function_names();

// What is wrong with the name, parameters and words of a `kind: function` reward; empty when
// nothing is.
std::vector<std::string> reward_function_problems(const RewardConfig& config);

class RewardFunction {
 public:
  // Throws ConfigError with all problems.
  explicit RewardFunction(const RewardConfig& config);
  double operator()(std::string_view answer) const;

 private:
  RewardFunctionKind kind_ = RewardFunctionKind::distinct_words;
  std::set<std::string> words_;  // folded
  double cap_ = std::numeric_limits<double>::infinity();
  double target_ = 0;
  double tolerance_ = 0;
};

}  // namespace leash
