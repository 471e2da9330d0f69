// The row of `task: reinforce`: REINFORCE++ (Hu et al. 2025).
#pragma once

#include <string_view>

#include "rl/policy/critic_free.h"
#include "rl/reinforce/config.h"
#include "rl/run/task.h"

namespace leash {

template <>
struct TaskTraits<ReinforceSetup> : CriticFreeTraits<ReinforceSetup, &ReinforceSetup::reinforce> {
  static constexpr std::string_view name = "reinforce";
  static constexpr std::string_view section_help = "the algorithm (names are those of TRL's GRPO)";
};

// `setup` outlives the task.
PolicyTask policy_task(const ReinforceSetup& setup);

}  // namespace leash
