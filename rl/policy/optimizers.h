// What trains in a loop over sampled answers: the policy's adapter, and the critic where there is
// one.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "rl/optim/adamw.h"
#include "rl/optim/optimizer.h"
#include "rl/policy/config.h"
#include "rl/policy/roles.h"

namespace leash {

struct PolicyOptimizers {
  AdamW policy;
  Optimizer critic;  // of no tensors where there is no critic

  PolicyOptimizers(const PolicyConfig& config, const PolicyRoles& roles,
                   OptimizerKind critic_kind = OptimizerKind::adamw_torch);
};

// Those of the policy and of the critic.
std::vector<at::Tensor> trained_parameters(const PolicyRoles& roles);

struct LearningRates {
  double policy = 0;
  double critic = 0;
};

}  // namespace leash
