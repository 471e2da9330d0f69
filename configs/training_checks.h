// Rules that the sections of supervised and reward training have in common.
#pragma once

#include <fmt/format.h>

#include <string>

#include "configs/checker.h"
#include "configs/tasks.h"
#include "rl/training/config.h"

namespace leash {

// What the recipe says about held-out data, and the name of the task's own section ("sft").
struct TrainingContext {
  std::string section;
  bool has_eval_file = false;
  bool has_split = false;
  bool shuffle = true;
  bool float16 = false;  // model.dtype

  bool has_held_out() const { return has_eval_file || has_split; }
};

// Whether the recipe ever evaluates after a step.
bool evaluates(const TrainingConfig& config, const TrainingContext& context);

// Schedule, optimizer, order and evaluations.
void check_training(const TrainingConfig& config, const TrainingContext& context, Checker& check);

// The rules that all supervised tasks share. `data` is what data.train has to be ("a JSONL file
// with pairs"). Returns whether the run ever evaluates.
template <class Setup>
bool check_supervised(const Setup& setup, TaskType adapters, const std::string& data,
                      Checker& check) {
  using Traits = TaskTraits<Setup>;
  const std::string name(Traits::name);
  const auto& config = setup.*Traits::section;
  check_quantize(setup.model, check);
  check_lora(setup.lora, check);
  check_saving(setup.run, check);
  check_device(setup.devices.policy, "devices.policy", check);
  check.require(setup.lora.task_type == adapters, "lora.task_type",
                fmt::format("task: {} trains {} adapters", name, enum_name(adapters)));
  check.require(!setup.data.train.empty(), "data.train", "is missing: " + data);
  const TrainingContext context{.section = name,
                                .has_eval_file = setup.data.eval.has_value(),
                                .has_split = setup.data.eval_split > 0,
                                .shuffle = setup.data.shuffle,
                                .float16 = setup.model.dtype == DtypeChoice::float16};
  check_training(config, context, check);
  const bool ever = evaluates(config, context) || (context.has_held_out() && config.eval_on_start);
  check.no_effect_unless(ever, name + ".eval_answers", "without evaluations");
  return ever;
}

// llama.cpp's files hold no score head.
inline void check_exports_of_head(const RunConfig& run, Checker& check) {
  for (const ExportKind kind : run.exports) {
    check.require(
        kind == ExportKind::hf || kind == ExportKind::peft, "run.export",
        std::string(enum_name(kind)) + " has no place for a score head: hf and peft have one");
  }
}

}  // namespace leash
