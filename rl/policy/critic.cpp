#include "rl/policy/critic.h"

namespace leash {

std::vector<at::Tensor> Critic::parameters() const {
  std::vector<at::Tensor> parameters = adapter ? adapter->parameters() : std::vector<at::Tensor>{};
  parameters.push_back(head.weight);
  return parameters;
}

}  // namespace leash
