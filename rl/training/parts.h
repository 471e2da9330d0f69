// What the loops of supervised and reward training share.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "models/decoder/decoder.h"
#include "models/io/checkpoint.h"
#include "models/tokenizer/tokenizer.h"
#include "rl/data/packing.h"
#include "rl/optim/optimizer.h"
#include "rl/optim/schedule.h"
#include "rl/run/snapshot_parts.h"
#include "rl/training/config.h"

namespace leash {

// A frozen base and the adapter that its rows go through.
struct AdaptedDecoder {
  const Decoder& decoder;
  const Adapter& adapter;
};

struct TrainedModel {
  Checkpoint checkpoint;
  std::shared_ptr<const Decoder> decoder;  // the frozen base
  Tokenizer tokenizer;
  Adapter adapter;  // what trains
  NumericEnvironment environment{};
  std::map<std::string, std::string> notes{};  // in the adapter's file, see save_adapter

  AdaptedDecoder adapted() const { return {*decoder, adapter}; }
  // Of the adapter's file: whose base it was trained on, and `notes`.
  std::map<std::string, std::string> metadata() const;
};

Optimizer make_optimizer(const TrainingConfig& config, const Adapter& adapter);

// The schedule of transformers' get_scheduler with lr_scheduler_kwargs.
ScheduleConfig schedule_of(const TrainingConfig& config, int64_t total_steps);

// Rows of an optimizer step, and their order: by data_seed where it is given, else by `seed`.
int64_t rows_per_step(const TrainingConfig& config);
uint64_t data_seed_of(const TrainingConfig& config, int64_t seed);
BatchOrder batch_order(const TrainingConfig& config, std::vector<int64_t> row_lengths, bool shuffle,
                       int64_t seed);

// Optimizer steps of the whole run.
int64_t total_steps(const TrainingConfig& config, const BatchOrder& order);
// Epochs done after optimizer step `step` (1, 2, …), as transformers counts: in accumulation steps.
double epochs_after(const TrainingConfig& config, const BatchOrder& order, int64_t step);
// Whether the held-out data, of which there is some, is evaluated after this step.
bool evaluates_after(const TrainingConfig& config, const BatchOrder& order, int64_t logging_steps,
                     int64_t step);

// NonFinite that names the step.
void require_finite(double value, const char* name, int64_t step);
// The same, where an optimizer step left something else than numbers in what it trains (`whose`:
// "adapter's").
void require_finite_update(const std::vector<at::Tensor>& trained, const char* whose, int64_t step,
                           double rate);

}  // namespace leash
