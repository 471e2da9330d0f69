// The row of `task: dpo`.
#pragma once

#include <optional>
#include <string_view>

#include "models/io/snapshot.h"
#include "rl/dpo/evaluation.h"
#include "rl/dpo/trainer.h"
#include "rl/run/task.h"

namespace leash {

template <>
struct TaskTraits<DpoSetup> {
  using Trainer = DpoTrainer;
  static constexpr std::string_view name = "dpo";
  static constexpr auto section = &DpoSetup::dpo;
  static constexpr bool several_roles = false;
  static constexpr std::string_view model_help = "the frozen base";
  static constexpr std::string_view lora_help =
      "what trains: low-rank updates of the base (names and meaning are PEFT's)";
  static constexpr std::string_view data_help = "pairs of answers (names and meaning are TRL's)";
  static constexpr std::string_view section_help =
      "the algorithm (names and meaning are those of TRL's DPO and transformers')";

  static bool exports_best(const DpoSetup& setup) { return setup.dpo.load_best_model_at_end; }
  static TaskEvaluation evaluate(const DpoSetup& setup, const std::optional<Snapshot>& snapshot) {
    return evaluate_run(setup, snapshot);
  }
};

}  // namespace leash
