// PPO's critic as its recipe says, and all roles of a PPO run.
#pragma once

#include <memory>
#include <optional>

#include "rl/policy/critic.h"
#include "rl/policy/roles.h"
#include "rl/ppo/setup.h"
#include "rl/reference/bases.h"

namespace leash {

// It starts where critic.start says; else its head at zero (or, with a checkpoint of its own, at
// that one's score.weight), its adapter as a fresh one of the policy's configuration. nullopt for
// critic.kind none. ConfigError, FormatError.
std::optional<Critic> make_critic(const PpoSetup& setup, const PolicyRoles& roles, Bases& bases,
                                  const std::shared_ptr<GatherQueue>& gathers);

// With `gathers`, all frozen weights are sharded.
PolicyRoles load_ppo_roles(const PpoSetup& setup,
                           const std::shared_ptr<GatherQueue>& gathers = nullptr);

}  // namespace leash
