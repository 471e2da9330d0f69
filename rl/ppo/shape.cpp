#include "rl/ppo/shape.h"

#include "rl/policy/advantages.h"
#include "rl/policy/kl.h"
#include "rl/policy/rewards.h"

namespace leash {

void shape(Experience& experience, const PpoConfig& config, double kl_coef) {
  experience.kl =
      kl_estimate(experience.logprobs, experience.reference_logprobs, config.kl_estimator);
  experience.rewards = shape_rewards(experience.scores, experience.kl, experience.mask, kl_coef);
  if (config.whiten_rewards) {
    experience.rewards = masked_whiten(experience.rewards, experience.mask, /*shift_mean=*/false);
  }
  const Advantages estimated =
      gae(experience.rewards, experience.values, experience.mask, config.gamma, config.lam);
  experience.advantages = masked_whiten(estimated.advantages, experience.mask);
  experience.returns = estimated.returns;
}

}  // namespace leash
