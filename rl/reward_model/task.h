// The row of `task: reward`.
#pragma once

#include <optional>
#include <string_view>

#include "models/io/snapshot.h"
#include "rl/reward_model/evaluation.h"
#include "rl/reward_model/trainer.h"
#include "rl/run/task.h"

namespace leash {

template <>
struct TaskTraits<RewardSetup> {
  using Trainer = RewardTrainer;
  static constexpr std::string_view name = "reward";
  static constexpr auto section = &RewardSetup::reward;
  static constexpr bool several_roles = false;
  static constexpr std::string_view model_help = "the frozen base";
  static constexpr std::string_view lora_help =
      "what trains besides the score head: low-rank updates of the base (names and meaning are "
      "PEFT's)";
  static constexpr std::string_view data_help = "pairs of answers (names and meaning are TRL's)";
  static constexpr std::string_view section_help =
      "the algorithm (names and meaning are TRL's and transformers')";

  static bool exports_best(const RewardSetup& setup) { return setup.reward.load_best_model_at_end; }
  static TaskEvaluation evaluate(const RewardSetup& setup,
                                 const std::optional<Snapshot>& snapshot) {
    return evaluate_run(setup, snapshot);
  }
};

}  // namespace leash
