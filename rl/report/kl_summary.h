// How far a policy is from its reference, summed up from per-token numbers: means per token, per
// sequence, per position. Pure functions.
//
// For text i with T_i scored tokens, p the policy, q the reference, x_t the token at t:
//   kl_t  = Σ_x p(x) log(p(x) / q(x))      exact, over the vocabulary
//   k1_t  = log p(x_t) - log q(x_t)        its estimate from the token alone (may be negative)
//   k3_t  = q/p - 1 - log(q/p) at x_t      the same with less variance, never negative
//                                          (Schulman 2020)
//   mean_token    = Σ_i Σ_t kl_t / Σ_i T_i
//   mean_sequence = mean over prompts of the mean over a prompt's texts of Σ_t kl_t, with Student's
//                   95 % interval over the prompts: several answers to one are not independent
// k1 and k3 estimate the KL only on tokens that were drawn from the policy; on other texts they say
// how the log-probs of these very tokens differ.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "rl/statistics/statistics.h"

namespace leash {

// Entry j belongs to the (j+1)-th scored token of one text. Nats, temperature 1.
struct KlText {
  int64_t prompt = 0;  // texts of equal number are answers to one prompt
  std::vector<double> kl;
  std::vector<double> logprobs;            // of the token under the policy
  std::vector<double> reference_logprobs;  // under the reference

  double log_ratio(size_t j) const { return logprobs[j] - reference_logprobs[j]; }
};

double k3_estimate(double log_ratio);

struct KlMeasure {
  double mean_token = 0;
  MeanInterval sequence;
};

struct KlPosition {
  int64_t position = 0;   // 1: the first scored token of a text
  int64_t num_texts = 0;  // that are that long
  MeanInterval kl;        // over their prompts
  MeanInterval k1;
  MeanInterval k3;
  double kl_sum = 0;  // over their texts
  double k1_sum = 0;
  double k3_sum = 0;
};

struct KlSummary {
  int64_t num_texts = 0;
  int64_t num_tokens = 0;  // scored ones
  KlMeasure kl;
  KlMeasure k1;
  KlMeasure k3;
  std::vector<KlPosition> positions;
};

KlSummary summarize_kl(std::span<const KlText> texts);

// The mean over all tokens at positions [first, last] (1-based).
struct KlPositionRange {
  int64_t first = 0;
  int64_t last = 0;
  int64_t num_tokens = 0;
  double kl = 0;
  double k1 = 0;
  double k3 = 0;
};
// Ranges 1, 2, 3–4, 5–8, …: a table for a terminal.
std::vector<KlPositionRange> position_ranges(const KlSummary& summary);

}  // namespace leash
