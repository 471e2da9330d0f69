// The row of `task: rloo`: RLOO (Ahmadian et al. 2024).
#pragma once

#include <string_view>

#include "rl/policy/critic_free.h"
#include "rl/rloo/config.h"
#include "rl/run/task.h"

namespace leash {

template <>
struct TaskTraits<RlooSetup> : CriticFreeTraits<RlooSetup, &RlooSetup::rloo> {
  static constexpr std::string_view name = "rloo";
  static constexpr std::string_view section_help =
      "the algorithm (names and meaning are those of TRL's RLOO)";
};

// `setup` outlives the task.
PolicyTask policy_task(const RlooSetup& setup);

}  // namespace leash
