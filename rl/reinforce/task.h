// The row of `task: reinforce`: REINFORCE++ (Hu et al. 2025).
#pragma once

#include <optional>
#include <string_view>

#include "models/io/snapshot.h"
#include "rl/policy/critic_free.h"
#include "rl/policy/evaluate_run.h"
#include "rl/reinforce/config.h"
#include "rl/run/task.h"

namespace leash {

template <>
struct TaskTraits<ReinforceSetup> {
  using Trainer = CriticFreeTrainer<ReinforceSetup>;
  static constexpr std::string_view name = "reinforce";
  static constexpr auto section = &ReinforceSetup::reinforce;
  static constexpr bool several_roles = true;
  static constexpr std::string_view model_help = "the frozen base that every role shares";
  static constexpr std::string_view lora_help =
      "what trains: low-rank updates of the base (names and meaning are PEFT's)";
  static constexpr std::string_view data_help = "prompts";
  static constexpr std::string_view section_help = "the algorithm (names are those of TRL's GRPO)";

  static bool exports_best(const ReinforceSetup&) { return true; }
  static TaskEvaluation evaluate(const ReinforceSetup& setup,
                                 const std::optional<Snapshot>& snapshot) {
    return evaluate_policy(
        setup, setup.reinforce, [&setup] { return critic_free_roles(setup, setup.reinforce); },
        snapshot);
  }
};

// `setup` outlives the task.
PolicyTask policy_task(const ReinforceSetup& setup);

}  // namespace leash
