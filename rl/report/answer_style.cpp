#include "rl/report/answer_style.h"

#include <set>

#include "models/errors.h"
#include "models/text/regex_split.h"
#include "models/text/utf8.h"

namespace leash {
namespace {

using Ngrams = std::set<std::vector<int64_t>>;

// Adds all n-grams; how many there were, and how many were new.
struct NgramCounts {
  double all = 0;
  double fresh = 0;
};
NgramCounts count_ngrams(const std::vector<int64_t>& ids, size_t n, Ngrams& known) {
  NgramCounts counts;
  for (size_t i = 0; i + n <= ids.size(); ++i) {
    const auto begin = ids.begin() + static_cast<int64_t>(i);
    counts.fresh += known.emplace(begin, begin + static_cast<int64_t>(n)).second ? 1 : 0;
    ++counts.all;
  }
  return counts;
}

double distinct_share(std::span<const StyledAnswer> answers, size_t n) {
  Ngrams known;
  NgramCounts total;
  for (const StyledAnswer& answer : answers) {
    const NgramCounts own = count_ngrams(answer.ids, n, known);
    total.all += own.all;
    total.fresh += own.fresh;
  }
  return total.all == 0 ? 0 : total.fresh / total.all;
}

double matching_share(std::span<const StyledAnswer> answers, const std::string& pattern) {
  const Regex regex(pattern);
  double found = 0;
  for (const StyledAnswer& answer : answers) {
    std::string storage;
    const std::string_view text = replace_invalid(answer.text, storage);
    Regex::Matches matches(regex, text);
    found += matches.next() ? 1 : 0;
  }
  return found / static_cast<double>(answers.size());
}

}  // namespace

AnswerStyle answer_style(std::span<const StyledAnswer> answers,
                         const std::vector<std::string>& patterns) {
  constexpr size_t kRepeated = 4;
  AnswerStyle style;
  if (answers.empty()) return style;
  const auto count = static_cast<double>(answers.size());
  for (const StyledAnswer& answer : answers) {
    style.mean_tokens += static_cast<double>(answer.ids.size()) / count;
    Ngrams own;
    const NgramCounts grams = count_ngrams(answer.ids, kRepeated, own);
    if (grams.all > 0) style.repetition += (1 - grams.fresh / grams.all) / count;
  }
  style.distinct_1 = distinct_share(answers, 1);
  style.distinct_2 = distinct_share(answers, 2);
  style.distinct_3 = distinct_share(answers, 3);
  for (const std::string& pattern : patterns) {
    style.matches.emplace_back(pattern, matching_share(answers, pattern));
  }
  return style;
}

}  // namespace leash
