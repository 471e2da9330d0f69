#include "rl/policy/optimizers.h"

#include <algorithm>
#include <iterator>

namespace leash {
namespace {

std::vector<at::Tensor> critic_parameters(const PolicyRoles& roles) {
  return roles.critic ? roles.critic->parameters() : std::vector<at::Tensor>{};
}

AdamWConfig adamw(const PolicyConfig& config) {
  return {.beta1 = config.adam_beta1,
          .beta2 = config.adam_beta2,
          .epsilon = config.adam_epsilon,
          .weight_decay = config.weight_decay};
}

}  // namespace

PolicyOptimizers::PolicyOptimizers(const PolicyConfig& config, const PolicyRoles& roles,
                                   OptimizerKind critic_kind)
    : policy(roles.policy.parameters(), adamw(config)),
      critic(critic_parameters(roles), {.kind = critic_kind,
                                        .beta1 = config.adam_beta1,
                                        .beta2 = config.adam_beta2,
                                        .epsilon = config.adam_epsilon,
                                        .weight_decay = config.weight_decay}) {}

std::vector<at::Tensor> trained_parameters(const PolicyRoles& roles) {
  std::vector<at::Tensor> parameters = roles.policy.parameters();
  std::ranges::copy(critic_parameters(roles), std::back_inserter(parameters));
  return parameters;
}

}  // namespace leash
