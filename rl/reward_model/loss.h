// The loss of a reward model on pairs of answers (Bradley and Terry 1952; Christiano et al. 2017,
// arXiv:1706.03741, eq. 1; Ouyang et al. 2022, arXiv:2203.02155, eq. 1). Pure functions.
#pragma once

#include <ATen/core/Tensor.h>

namespace leash {

struct RewardLossOptions {
  double center_rewards_coefficient = 0;  // Eisenstein et al. 2023, arXiv:2312.09244, eq. 2
  double label_smoothing = 0;             // ε in [0, 0.5); Mitchell 2023, conservative DPO's
};

// For pair i with scores c_i, r_i and margin m_i (Touvron et al. 2023, arXiv:2307.09288, eq. 2):
//   d_i  = c_i - r_i - m_i
//   loss = Σ_i [-(1 - ε) log σ(d_i) - ε log σ(-d_i) + k (c_i + r_i)²] / normalizer
// Scalar, differentiable in both scores. `normalizer` is the number of pairs of the whole batch, so
// that cutting it into micro-batches changes nothing. Without ε this is the loss of TRL's
// RewardTrainer. `ties`, where there are any, is 1 for pairs of which neither is preferred: half a
// pair either way, which is an ε of 1/2.
at::Tensor reward_loss(const at::Tensor& chosen /* [pairs] */,
                       const at::Tensor& rejected /* [pairs] */,
                       const at::Tensor& margins /* [pairs] */, const RewardLossOptions& options,
                       double normalizer, const at::Tensor& ties = {} /* [pairs] */);

// P(chosen is preferred) = σ(c - r): what the model says about a pair.
double preference_probability(double chosen, double rejected);

}  // namespace leash
