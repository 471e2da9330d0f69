// The state from which supervised or reward training goes on exactly where it stopped.
// Order, dropout and noise are pure functions of seed and step, so there is no more to save.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "rl/optim/grad_scaler.h"
#include "rl/optim/optimizer.h"
#include "rl/training/parts.h"

namespace leash {

struct TrainingState {
  int64_t step = 0;  // optimizer steps done; the data cursor as well
  std::optional<int64_t> best_step = {};
  double best_loss = 0;                             // held-out, of best_step
  int64_t evaluations_without_gain = 0;             // in a row
  int64_t skipped_steps = 0;                        // of `step`, whose update overflowed (float16)
  std::optional<GradScalerState> grad_scaler = {};  // float16

  // Steps of the optimizer and of the schedule.
  int64_t num_updates() const { return step - skipped_steps; }
  // After an evaluation at `step`.
  void evaluated(double loss);
};

// Whether early_stopping_patience has run out.
bool stopped_early(const TrainingConfig& config, const TrainingState& state);

// adapter_model.safetensors and adapter_config.json (PEFT's format), optimizer.safetensors,
// state.json.
void write_training_snapshot(const std::filesystem::path& folder, const TrainingState& state,
                             const TrainedModel& model, const Optimizer& optimizer);

// Restores adapter and optimizer in place. FormatError when the snapshot does not fit the recipe;
// ConfigError as check_environment.
TrainingState read_training_snapshot(const std::filesystem::path& folder, TrainedModel& model,
                                     Optimizer& optimizer, bool allow_inexact, Console& console);

}  // namespace leash
