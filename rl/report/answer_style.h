// How answers read: their length, how often they repeat themselves, how many n-grams are new, and
// what a regular expression finds in them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace leash {

struct StyledAnswer {
  std::vector<int64_t> ids;
  std::string text;
};

struct AnswerStyle {
  double mean_tokens = 0;
  // Share of an answer's 4-grams of tokens that stand in it before, mean over answers (0 for those
  // of fewer than four tokens).
  double repetition = 0;
  // Different n-grams of tokens over all n-grams, over all answers (Li et al. 2016).
  double distinct_1 = 0, distinct_2 = 0, distinct_3 = 0;
  // Share of answers in which an expression is found, by its text.
  std::vector<std::pair<std::string, double>> matches{};
};

// `patterns` are PCRE2 expressions, found anywhere. ConfigError where one cannot be read.
AnswerStyle answer_style(std::span<const StyledAnswer> answers,
                         const std::vector<std::string>& patterns);

}  // namespace leash
