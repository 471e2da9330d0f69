// The row of `task: sft`.
#pragma once

#include <optional>
#include <string_view>

#include "models/io/snapshot.h"
#include "rl/run/task.h"
#include "rl/sft/evaluation.h"
#include "rl/sft/trainer.h"

namespace leash {

template <>
struct TaskTraits<SftSetup> {
  using Trainer = SftTrainer;
  static constexpr std::string_view name = "sft";
  static constexpr auto section = &SftSetup::sft;
  static constexpr bool several_roles = false;
  static constexpr std::string_view model_help = "the frozen base";
  static constexpr std::string_view lora_help =
      "what trains: low-rank updates of the base (names and meaning are PEFT's)";
  static constexpr std::string_view data_help = "supervised samples (names and meaning are TRL's)";
  static constexpr std::string_view section_help =
      "the algorithm (names and meaning are transformers')";

  static bool exports_best(const SftSetup& setup) { return setup.sft.load_best_model_at_end; }
  static TaskEvaluation evaluate(const SftSetup& setup, const std::optional<Snapshot>& snapshot) {
    return evaluate_run(setup, snapshot);
  }
};

}  // namespace leash
