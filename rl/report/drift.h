// How far a policy drifted, beyond the mean of KL: both directions, Jensen–Shannon, entropies,
// agreement, what the sampled estimates of KL are worth, by prompt and by group of prompts. Pure
// functions over numbers per token.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "rl/statistics/statistics.h"
#include "rollout/divergence.h"

namespace leash {

// One text: which prompt it answers (texts of equal number are not independent), and the group of
// that prompt ("" without groups).
struct DriftText {
  int64_t prompt = 0;
  std::string group{};
  const TextDivergence* values = nullptr;
};

// 95 % by a bootstrap over prompts: the middle of 1,000 resamples (Efron 1979).
struct DriftMeasure {
  double mean_token = 0;
  std::optional<Interval> ci95{};  // of mean_token; none with one prompt
};

// An estimate of KL from the drawn token alone, against the exact value at the same states: its
// error is e_t = k_t - kl_t. On tokens that the policy did not draw it is no estimate.
struct EstimateError {
  double mean = 0;      // of k_t, per token
  double bias = 0;      // mean of e_t
  double variance = 0;  // of e_t
};

struct DriftSummary {
  int64_t num_texts = 0;
  int64_t num_tokens = 0;
  DriftMeasure kl, reverse_kl, js, entropy, reference_entropy, same_top;
  EstimateError k1, k2, k3;  // log p/q; ½ (log p/q)²; q/p - 1 - log q/p (Schulman 2020)
};

// The six measures with their names in JSON ("kl", …, "top1_agreement") and in words.
struct DriftColumn {
  const char* key;
  const char* words;
  DriftMeasure DriftSummary::*summary;
  std::vector<double> TextDivergence::*values;
};
std::span<const DriftColumn> drift_columns();

DriftSummary summarize_drift(std::span<const DriftText> texts, uint64_t seed = 0);

// The same for each group, by name; empty where no text has one.
std::map<std::string, DriftSummary> drift_by_group(std::span<const DriftText> texts,
                                                   uint64_t seed = 0);

// The middle 95 % of Σ numerators / Σ denominators over `resamples` bootstrap samples of the
// entries (prompts). nullopt for fewer than two.
std::optional<Interval> bootstrap_ratio(std::span<const double> numerators,
                                        std::span<const double> denominators, uint64_t seed,
                                        int64_t resamples = 1000);

}  // namespace leash
