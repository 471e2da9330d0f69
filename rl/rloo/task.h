// The row of `task: rloo`: RLOO (Ahmadian et al. 2024).
#pragma once

#include <optional>
#include <string_view>

#include "models/io/snapshot.h"
#include "rl/policy/critic_free.h"
#include "rl/policy/evaluate_run.h"
#include "rl/rloo/config.h"
#include "rl/run/task.h"

namespace leash {

template <>
struct TaskTraits<RlooSetup> {
  using Trainer = CriticFreeTrainer<RlooSetup>;
  static constexpr std::string_view name = "rloo";
  static constexpr auto section = &RlooSetup::rloo;
  static constexpr bool several_roles = true;
  static constexpr std::string_view model_help = "the frozen base that every role shares";
  static constexpr std::string_view lora_help =
      "what trains: low-rank updates of the base (names and meaning are PEFT's)";
  static constexpr std::string_view data_help = "prompts";
  static constexpr std::string_view section_help =
      "the algorithm (names and meaning are those of TRL's RLOO)";

  static bool exports_best(const RlooSetup&) { return true; }
  static TaskEvaluation evaluate(const RlooSetup& setup, const std::optional<Snapshot>& snapshot) {
    return evaluate_policy(
        setup, setup.rloo, [&setup] { return critic_free_roles(setup, setup.rloo); }, snapshot);
  }
};

// `setup` outlives the task.
PolicyTask policy_task(const RlooSetup& setup);

}  // namespace leash
