// The row of `task: grpo`: GRPO (Shao et al. 2024) and the losses that grew out of it.
#pragma once

#include <optional>
#include <string_view>

#include "models/io/snapshot.h"
#include "rl/grpo/config.h"
#include "rl/policy/critic_free.h"
#include "rl/policy/evaluate_run.h"
#include "rl/run/task.h"

namespace leash {

template <>
struct TaskTraits<GrpoSetup> {
  using Trainer = CriticFreeTrainer<GrpoSetup>;
  static constexpr std::string_view name = "grpo";
  static constexpr auto section = &GrpoSetup::grpo;
  static constexpr bool several_roles = true;
  static constexpr std::string_view model_help = "the frozen base that every role shares";
  static constexpr std::string_view lora_help =
      "what trains: low-rank updates of the base (names and meaning are PEFT's)";
  static constexpr std::string_view data_help = "prompts";
  static constexpr std::string_view section_help =
      "the algorithm (names and meaning are those of TRL's GRPO)";

  static bool exports_best(const GrpoSetup&) { return true; }
  static TaskEvaluation evaluate(const GrpoSetup& setup, const std::optional<Snapshot>& snapshot) {
    return evaluate_policy(
        setup, setup.grpo, [&setup] { return critic_free_roles(setup, setup.grpo); }, snapshot);
  }
};

// `setup` outlives the task.
PolicyTask policy_task(const GrpoSetup& setup);

}  // namespace leash
