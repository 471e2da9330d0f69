// The row of `task: ppo`.
#pragma once

#include <optional>
#include <string_view>

#include "models/io/snapshot.h"
#include "rl/policy/evaluate_run.h"
#include "rl/ppo/critic.h"
#include "rl/ppo/setup.h"
#include "rl/ppo/trainer.h"
#include "rl/run/task.h"

namespace leash {

template <>
struct TaskTraits<PpoSetup> {
  using Trainer = PpoTrainer;
  static constexpr std::string_view name = "ppo";
  static constexpr auto section = &PpoSetup::ppo;
  static constexpr bool several_roles = true;
  static constexpr std::string_view model_help = "the frozen base that every role shares";
  static constexpr std::string_view lora_help =
      "what trains: low-rank updates of the base (names and meaning are PEFT's)";
  static constexpr std::string_view data_help = "prompts";
  static constexpr std::string_view section_help = "the algorithm (names and meaning are TRL's)";

  static bool exports_best(const PpoSetup&) { return true; }
  static TaskEvaluation evaluate(const PpoSetup& setup, const std::optional<Snapshot>& snapshot) {
    return evaluate_policy(
        setup, setup.ppo, [&setup] { return load_ppo_roles(setup); }, snapshot);
  }
};

}  // namespace leash
