#include "rl/ppo/shape.h"

#include "rl/policy/advantages.h"
#include "rl/policy/experience.h"
#include "rl/policy/rewards.h"

namespace leash {

void shape(Experience& experience, const PpoConfig& config, double kl_coef) {
  experience.kl = token_kl(experience, config.kl_estimator);
  const double price = config.kl_in == KlPlace::reward ? kl_coef : 0.0;
  experience.rewards = shape_rewards(experience.scores, experience.kl, experience.mask, price);
  if (config.whiten_rewards) {
    experience.rewards = masked_whiten(experience.rewards, experience.mask, /*shift_mean=*/false);
  }
  const Advantages estimated =
      gae(experience.rewards, experience.values, experience.mask, config.gamma, config.lam);
  experience.advantages = config.whiten_advantages
                              ? masked_whiten(estimated.advantages, experience.mask)
                              : estimated.advantages;
  experience.returns = estimated.returns;
}

}  // namespace leash
