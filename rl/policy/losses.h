// The losses of PPO (Schulman et al. 2017) with the diagnostics that people read. Inputs are
// [batch, time] or packed [tokens]; sums run over `mask` and are divided by `num_tokens` (the
// minibatch's answer tokens over all micro-batches and ranks), so that splitting into micro-batches
// changes nothing.
#pragma once

#include <ATen/core/Tensor.h>

namespace leash {

// Sums over this micro-batch's masked tokens; divide by num_tokens after adding micro-batches up.
struct PolicyLoss {
  at::Tensor
      loss;  // scalar, differentiable: sum of max(-A ρ, -A clip(ρ, 1-ε, 1+ε)) / num_tokens (eq. 7)
  double clipped = 0;    // tokens where the clipped term was the larger
  double approx_kl = 0;  // sum of (log ρ)² / 2, TRL's policy/approxkl_avg
  double ratio_sum = 0;
  double ratio_squares = 0;
};
PolicyLoss policy_loss(const at::Tensor& logprobs, const at::Tensor& old_logprobs,
                       const at::Tensor& advantages, const at::Tensor& mask, double cliprange,
                       double num_tokens);

struct ValueLoss {
  at::Tensor loss;  // scalar, differentiable: sum of max((V-R)², (clip(V, V_old ± ε) - R)²) / 2 /
                    // num_tokens
  double clipped = 0;  // tokens where the clipped term was the larger
};
ValueLoss value_loss(const at::Tensor& values, const at::Tensor& old_values,
                     const at::Tensor& returns, const at::Tensor& mask, double cliprange_value,
                     double num_tokens);

}  // namespace leash
