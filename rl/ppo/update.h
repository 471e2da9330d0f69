// What an update is in PPO (Schulman et al. 2017): token ratios clipped on both sides, token means,
// and a clipped value loss.
#pragma once

#include "rl/policy/update.h"
#include "rl/ppo/setup.h"

namespace leash {

UpdateRules ppo_update_rules(const PpoSetup& setup);

}  // namespace leash
