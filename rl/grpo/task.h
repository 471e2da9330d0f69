// The row of `task: grpo`: GRPO (Shao et al. 2024) and the losses that grew out of it.
#pragma once

#include <string_view>

#include "rl/grpo/config.h"
#include "rl/policy/critic_free.h"
#include "rl/run/task.h"

namespace leash {

template <>
struct TaskTraits<GrpoSetup> : CriticFreeTraits<GrpoSetup, &GrpoSetup::grpo> {
  static constexpr std::string_view name = "grpo";
  static constexpr std::string_view section_help =
      "the algorithm (names and meaning are those of TRL's GRPO)";
};

// `setup` outlives the task.
PolicyTask policy_task(const GrpoSetup& setup);

}  // namespace leash
