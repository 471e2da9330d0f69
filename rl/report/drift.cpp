#include "rl/report/drift.h"

#include <algorithm>
#include <cmath>

#include "models/random/random.h"
#include "rl/report/kl_summary.h"

namespace leash {
namespace {

// The q-quantile of sorted values, between neighbours (as numpy's default).
double sorted_quantile(const std::vector<double>& sorted, double q) {
  const double place = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

DriftMeasure measure_of(std::span<const DriftText> texts,
                        std::vector<double> TextDivergence::*values, uint64_t seed) {
  struct Sums {
    double value = 0;
    double tokens = 0;
  };
  std::map<int64_t, Sums> by_prompt;
  for (const DriftText& text : texts) {
    Sums& sums = by_prompt[text.prompt];
    sums.value += sum((*text.values).*values);
    sums.tokens += static_cast<double>(((*text.values).*values).size());
  }
  std::vector<double> numerators, denominators;
  for (const auto& [prompt, sums] : by_prompt) {
    if (sums.tokens == 0) continue;
    numerators.push_back(sums.value);
    denominators.push_back(sums.tokens);
  }
  if (numerators.empty()) return {};
  return {.mean_token = sum(numerators) / sum(denominators),
          .ci95 = bootstrap_ratio(numerators, denominators, seed)};
}

// `estimate` of the log-ratio log p/q of the token that stands there.
template <class Estimate>
EstimateError error_of(std::span<const DriftText> texts, const Estimate& estimate) {
  double count = 0, total = 0, errors = 0, squares = 0;
  for (const DriftText& text : texts) {
    for (size_t j = 0; j < text.values->kl.size(); ++j) {
      const double k = estimate(text.values->logprobs[j] - text.values->reference_logprobs[j]);
      const double error = k - text.values->kl[j];
      ++count;
      total += k;
      errors += error;
      squares += error * error;
    }
  }
  if (count == 0) return {};
  const double bias = errors / count;
  return {.mean = total / count,
          .bias = bias,
          .variance = std::max(0.0, squares / count - bias * bias)};
}

}  // namespace

std::span<const DriftColumn> drift_columns() {
  static const DriftColumn columns[] = {
      {"kl", "KL(policy ‖ reference)", &DriftSummary::kl, &TextDivergence::kl},
      {"reverse_kl", "KL(reference ‖ policy)", &DriftSummary::reverse_kl,
       &TextDivergence::reverse_kl},
      {"js", "Jensen–Shannon", &DriftSummary::js, &TextDivergence::js},
      {"entropy", "entropy of the policy", &DriftSummary::entropy, &TextDivergence::entropy},
      {"reference_entropy", "entropy of the reference", &DriftSummary::reference_entropy,
       &TextDivergence::reference_entropy},
      {"top1_agreement", "both like the same token most", &DriftSummary::same_top,
       &TextDivergence::same_top}};
  return columns;
}

std::optional<Interval> bootstrap_ratio(std::span<const double> numerators,
                                        std::span<const double> denominators, uint64_t seed,
                                        int64_t resamples) {
  const size_t n = numerators.size();
  if (n < 2) return std::nullopt;
  std::vector<double> ratios;
  for (int64_t sample = 0; sample < resamples; ++sample) {
    const DrawKey key{
        .seed = seed, .purpose = Purpose::bootstrap, .a = static_cast<uint64_t>(sample)};
    double above = 0, below = 0;
    for (uint64_t i = 0; i < n; ++i) {
      // 32 bits times n: no remainder, so no place is favoured by more than n / 2^32.
      const auto pick = static_cast<size_t>((uint64_t{draw_bits(key, i)} * n) >> 32);
      above += numerators[pick];
      below += denominators[pick];
    }
    ratios.push_back(below == 0 ? 0 : above / below);
  }
  std::ranges::sort(ratios);
  return Interval{sorted_quantile(ratios, 0.025), sorted_quantile(ratios, 0.975)};
}

DriftSummary summarize_drift(std::span<const DriftText> texts, uint64_t seed) {
  DriftSummary summary{.num_texts = std::ssize(texts)};
  for (const DriftText& text : texts) summary.num_tokens += std::ssize(text.values->kl);
  for (const DriftColumn& column : drift_columns()) {
    summary.*column.summary = measure_of(texts, column.values, seed);
  }
  summary.k1 = error_of(texts, [](double log_ratio) { return log_ratio; });
  summary.k2 = error_of(texts, [](double log_ratio) { return log_ratio * log_ratio / 2; });
  summary.k3 = error_of(texts, k3_estimate);
  return summary;
}

std::map<std::string, DriftSummary> drift_by_group(std::span<const DriftText> texts,
                                                   uint64_t seed) {
  std::map<std::string, std::vector<DriftText>> groups;
  for (const DriftText& text : texts) {
    if (!text.group.empty()) groups[text.group].push_back(text);
  }
  std::map<std::string, DriftSummary> summaries;
  for (const auto& [name, own] : groups) summaries[name] = summarize_drift(own, seed);
  return summaries;
}

}  // namespace leash
