// Step 3 of a PPO iteration: rewards, advantages and returns from the judgements.
#pragma once

#include "rl/ppo/config.h"
#include "rollout/experience.h"

namespace leash {

// KL-penalised rewards (Ziegler et al. 2019, section 2.1) and generalised advantage estimation
// (Schulman et al. 2015). Pure but for filling `experience`.
void shape(Experience& experience, const PpoConfig& config, double kl_coef);

}  // namespace leash
