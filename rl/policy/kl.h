// Distance between the policy and the reference: per-token estimators from log-probs, and the
// coefficient that prices it.
#pragma once

#include <ATen/core/Tensor.h>

#include <string_view>
#include <utility>

#include "models/fields.h"

namespace leash {

// Schulman 2020, "Approximating KL Divergence" (http://joschu.net/blog/kl-approx.html): k1 = log
// p/q, k2 = k1²/2, k3 = q/p - 1 - log q/p. `exact` is no estimate: Σ p log p/q over the vocabulary.
enum class KlEstimator { k1, k2, k3, exact };
template <>
struct EnumNames<KlEstimator> {
  static constexpr std::pair<KlEstimator, std::string_view> values[] = {
      {KlEstimator::k1, "k1"},
      {KlEstimator::k2, "k2"},
      {KlEstimator::k3, "k3"},
      {KlEstimator::exact, "exact"}};
};

// Where the price of KL is paid.
enum class KlPlace { loss, reward };
template <>
struct EnumNames<KlPlace> {
  static constexpr std::pair<KlPlace, std::string_view> values[] = {{KlPlace::loss, "loss"},
                                                                    {KlPlace::reward, "reward"}};
};

// Per-token estimate (k1, k2 or k3) of KL(policy ‖ reference) in nats, at tokens drawn from the
// policy. Same shape as the inputs.
at::Tensor kl_estimate(const at::Tensor& logprobs, const at::Tensor& reference_logprobs,
                       KlEstimator estimator);

// Adaptive coefficient (Ziegler et al. 2019, section 2.2): β ← β (1 + clip(kl/target - 1, ±0.2) n /
// horizon). More episodes than the horizon count as the horizon: the factor stays within
// [0.8, 1.2], so the price keeps its sign.
struct AdaptiveKl {
  double coefficient = 0.05;
  double target = 6.0;       // nats per sequence
  double horizon = 10000.0;  // episodes

  void update(double kl, int64_t episodes);
};

}  // namespace leash
