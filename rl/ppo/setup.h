// What a recipe says about a PPO run.
#pragma once

#include "rl/policy/config.h"
#include "rl/ppo/config.h"

namespace leash {

struct PpoSetup : PolicySetup {
  CriticConfig critic = {};
  PpoConfig ppo = {};
};

}  // namespace leash
