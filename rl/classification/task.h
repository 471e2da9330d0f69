// The row of `task: classification`.
#pragma once

#include <optional>
#include <string_view>

#include "models/io/snapshot.h"
#include "rl/classification/evaluation.h"
#include "rl/classification/trainer.h"
#include "rl/run/task.h"

namespace leash {

template <>
struct TaskTraits<ClassificationSetup> {
  using Trainer = ClassificationTrainer;
  static constexpr std::string_view name = "classification";
  static constexpr auto section = &ClassificationSetup::classification;
  static constexpr bool several_roles = false;
  static constexpr std::string_view model_help = "the frozen base";
  static constexpr std::string_view lora_help =
      "what trains besides the score head: low-rank updates and whole modules of the base (names "
      "and meaning are PEFT's)";
  static constexpr std::string_view data_help = "texts with a class each";
  static constexpr std::string_view section_help =
      "the algorithm (names and meaning are transformers')";

  static bool exports_best(const ClassificationSetup& setup) {
    return setup.classification.load_best_model_at_end;
  }
  static TaskEvaluation evaluate(const ClassificationSetup& setup,
                                 const std::optional<Snapshot>& snapshot) {
    return evaluate_run(setup, snapshot);
  }
};

}  // namespace leash
