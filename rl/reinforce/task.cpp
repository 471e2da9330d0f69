#include "rl/reinforce/task.h"

#include "rl/policy/advantages.h"
#include "rl/policy/group_advantages.h"
#include "rl/policy/group_shape.h"
#include "rl/policy/rewards.h"

namespace leash {
namespace {

void shape_reinforce(Experience& experience, const ReinforceSetup& setup, double beta) {
  const ReinforceConfig& config = setup.reinforce;
  prepare(experience, setup, config);
  const at::Tensor scores =
      minus_baseline(experience.scores.to(at::kDouble), config.num_generations, config.baseline);
  const double price = config.kl_in == KlPlace::reward ? beta : 0.0;
  experience.rewards = shape_rewards(scores, experience.kl, experience.mask, price);
  const at::Tensor returns = returns_to_go(experience.rewards, experience.mask, config.gamma);
  const at::Tensor& counted = experience.counted.defined() ? experience.counted : experience.mask;
  experience.advantages = config.whiten_advantages ? masked_whiten(returns, counted) : returns;
}

}  // namespace

PolicyTask policy_task(const ReinforceSetup& setup) {
  const ReinforceConfig& config = setup.reinforce;
  PolicyTask task = group_task(setup, config, "reinforce");
  task.shape = [&setup](Experience& experience, double beta) {
    shape_reinforce(experience, setup, beta);
  };
  return task;
}

}  // namespace leash
