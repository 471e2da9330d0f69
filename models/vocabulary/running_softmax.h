// What log-probs need of a row of logits, gathered in one pass in which nobody knows the largest
// one yet, and in parts that are put together: for kernels, and for the tests of their arithmetic.
#pragma once

#include <cmath>
#include <cstdint>

#include "models/device/host_device.h"

namespace leash {

// The largest m of some logits z (already divided by the temperature), Σ exp(z - m) and
// Σ exp(z - m) (z - m).
struct RunningSoftmax {
  double largest = -INFINITY;
  double sum = 0;
  double weighted = 0;

  LEASH_HOST_DEVICE void add(double z) { merge({z, 1.0, 0.0}); }

  // As if both had been one. Parts without a logit above -inf change nothing; NaN stays NaN.
  LEASH_HOST_DEVICE void merge(const RunningSoftmax& other) {
    if (other.sum == 0 || other.largest == -INFINITY) return;
    if (sum == 0 || largest == -INFINITY) {
      *this = other;
      return;
    }
    const bool swap = other.largest > largest;
    const RunningSoftmax low = swap ? *this : other;
    if (swap) *this = other;
    const double below = low.largest - largest;
    const double factor = exp(below);
    weighted += factor * low.weighted + factor * low.sum * below;
    sum += factor * low.sum;
  }

  LEASH_HOST_DEVICE double log_normalizer() const { return largest + log(sum); }
  LEASH_HOST_DEVICE double entropy() const { return log(sum) - weighted / sum; }
};

// The largest of some logits and the first place where it stands, in parts that are put together.
struct LargestLogit {
  float value = -INFINITY;
  int64_t index = -1;  // -1: none yet

  LEASH_HOST_DEVICE void merge(const LargestLogit& other) {
    if (other.index < 0) return;
    const bool first = other.value == value && other.index < index;
    if (index < 0 || other.value > value || first) *this = other;
  }
};

// dL/dlogit for L = g · log p[target], p = softmax(logits / temperature).
LEASH_HOST_DEVICE float logprob_gradient(float logit, float inverse_temperature,
                                         double log_normalizer, bool is_target, float g) {
  const double p = exp(static_cast<double>(logit) * inverse_temperature - log_normalizer);
  return static_cast<float>(g * inverse_temperature * ((is_target ? 1.0 : 0.0) - p));
}

// Where a cumulative sum of `count` weights (from `before` on) passes `target`: the index, and in
// `before` what came ahead of it. Weights of 0 are never chosen; where rounding left the target
// past the end, the last weight above 0 is (index 0 where there is none).
template <class Weight>
LEASH_HOST_DEVICE int64_t index_at(double target, int64_t count, const Weight& weight,
                                   double& before) {
  int64_t chosen = 0;
  double chosen_before = before, passed = before;
  for (int64_t i = 0; i < count; ++i) {
    const double w = weight(i);
    if (!(w > 0)) continue;
    chosen = i;
    chosen_before = passed;
    passed += w;
    if (passed > target) break;
  }
  before = chosen_before;
  return chosen;
}

// Sampling looks at the vocabulary in parts of this many tokens.
constexpr int64_t kSampledPart = 256;

// exp((logit - largest) / temperature) where `largest` is of logits that are divided already.
LEASH_HOST_DEVICE double sampling_weight(float logit, float inverse_temperature, double largest) {
  return exp(static_cast<double>(logit) * inverse_temperature - largest);
}

}  // namespace leash
