// PPO's policy loss (Schulman et al. 2017, eq. 7), as the update asks for it.
#pragma once

#include "rl/policy/losses.h"

namespace leash::testing {

inline SurrogateLoss ppo_loss(const at::Tensor& logprobs, const at::Tensor& old_logprobs,
                              const at::Tensor& advantages, const at::Tensor& mask,
                              double cliprange, double num_tokens) {
  return surrogate_loss(
      {.logprobs = logprobs, .old_logprobs = old_logprobs, .advantages = advantages, .mask = mask},
      {.epsilon = cliprange, .epsilon_high = cliprange}, num_tokens);
}

}  // namespace leash::testing
