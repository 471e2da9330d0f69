// Rules that the sections of supervised and reward training have in common.
#pragma once

#include <string>

#include "configs/checker.h"
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

}  // namespace leash
