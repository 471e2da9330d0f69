#include "rl/reward_model/loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/log_sigmoid.h>
#include <c10/util/Exception.h>

#include <cmath>

namespace leash {

at::Tensor reward_loss(const at::Tensor& chosen, const at::Tensor& rejected,
                       const at::Tensor& margins, const RewardLossOptions& options,
                       double normalizer, const at::Tensor& ties) {
  TORCH_CHECK(
      chosen.dim() == 1 && chosen.sizes() == rejected.sizes() && chosen.sizes() == margins.sizes(),
      "reward_loss: scores and margins are [pairs]");
  TORCH_CHECK(normalizer > 0, "a batch without pairs has no loss");
  const at::Tensor difference = chosen - rejected - margins;
  at::Tensor losses = -at::log_sigmoid(difference);
  if (ties.defined()) {
    const at::Tensor wrong = ties * (0.5 - options.label_smoothing) + options.label_smoothing;
    losses = losses * (1.0 - wrong) - at::log_sigmoid(-difference) * wrong;
  } else if (options.label_smoothing > 0) {
    losses = losses * (1.0 - options.label_smoothing) -
             at::log_sigmoid(-difference) * options.label_smoothing;
  }
  if (options.center_rewards_coefficient > 0) {
    losses = losses + (chosen + rejected).square() * options.center_rewards_coefficient;
  }
  return losses.sum() / normalizer;
}

double preference_probability(double chosen, double rejected) {
  return 1.0 / (1.0 + std::exp(rejected - chosen));
}

}  // namespace leash
