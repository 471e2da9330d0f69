#include "rl/training/parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "models/errors.h"
#include "models/lora/base_identity.h"
#include "rl/optim/finite.h"

namespace leash {

std::map<std::string, std::string> TrainedModel::metadata() const {
  std::map<std::string, std::string> all = base_metadata(decoder->identity());
  all.insert(notes.begin(), notes.end());
  return all;
}

Optimizer make_optimizer(const TrainingConfig& config, const Adapter& adapter) {
  return Optimizer(adapter.parameters(), {.kind = config.optim,
                                          .beta1 = config.adam_beta1,
                                          .beta2 = config.adam_beta2,
                                          .epsilon = config.adam_epsilon,
                                          .weight_decay = config.weight_decay});
}

ScheduleConfig schedule_of(const TrainingConfig& config, int64_t total_steps) {
  const auto setting = [&](const char* name, double otherwise) {
    const auto found = config.lr_scheduler_kwargs.find(name);
    return found == config.lr_scheduler_kwargs.end() ? otherwise : found->second;
  };
  ScheduleConfig schedule{.type = config.lr_scheduler_type,
                          .learning_rate = config.learning_rate,
                          .warmup_steps = config.warmup_steps,
                          .warmup_ratio = config.warmup_ratio,
                          .total_steps = total_steps};
  schedule.min_lr_rate = setting(
      "min_lr_rate", setting("min_lr_ratio", setting("min_lr", 0.0) / config.learning_rate));
  schedule.power = setting("power", schedule.power);
  schedule.lr_end = setting("lr_end", schedule.lr_end);
  schedule.num_cycles = setting("num_cycles", schedule.num_cycles);
  schedule.decay_steps = static_cast<int64_t>(setting("num_decay_steps", 0));
  return schedule;
}

int64_t rows_per_step(const TrainingConfig& config) {
  return config.per_device_train_batch_size * config.gradient_accumulation_steps;
}

uint64_t data_seed_of(const TrainingConfig& config, int64_t seed) {
  return static_cast<uint64_t>(config.data_seed.value_or(seed));
}

BatchOrder batch_order(const TrainingConfig& config, std::vector<int64_t> row_lengths, bool shuffle,
                       int64_t seed) {
  return BatchOrder(std::move(row_lengths), {.shuffle = shuffle,
                                             .group_by_length = config.group_by_length,
                                             .seed = data_seed_of(config, seed),
                                             .batch_size = rows_per_step(config)});
}

int64_t total_steps(const TrainingConfig& config, const BatchOrder& order) {
  if (config.max_steps > 0) return config.max_steps;
  return static_cast<int64_t>(
      std::ceil(config.num_train_epochs * static_cast<double>(order.batches_per_epoch())));
}

double epochs_after(const TrainingConfig& config, const BatchOrder& order, int64_t step) {
  const int64_t size = config.per_device_train_batch_size;
  const int64_t per_epoch = (order.num_rows() + size - 1) / size;
  const int64_t batch = (step - 1) % order.batches_per_epoch() + 1;
  const int64_t done = std::min(batch * config.gradient_accumulation_steps, per_epoch);
  return static_cast<double>((step - 1) / order.batches_per_epoch()) +
         static_cast<double>(done) / static_cast<double>(per_epoch);
}

bool evaluates_after(const TrainingConfig& config, const BatchOrder& order, int64_t logging_steps,
                     int64_t step) {
  if (config.eval_strategy == EvalStrategy::no) return false;
  const int64_t every = config.eval_strategy == EvalStrategy::epoch
                            ? order.batches_per_epoch()
                            : config.eval_steps.value_or(logging_steps);
  return step == total_steps(config, order) || step % every == 0;
}

void require_finite(double value, const char* name, int64_t step) {
  if (std::isfinite(value)) return;
  throw NonFinite(
      fmt::format("step {}: the {} is {}; the update was not applied", step, name, value));
}

void require_finite_update(const std::vector<at::Tensor>& trained, const char* whose, int64_t step,
                           double rate) {
  if (all_finite(trained)) return;
  throw NonFinite(fmt::format(
      "step {}: the update at a learning rate of {:g} left numbers in the {} tensors that are not "
      "finite",
      step, rate, whose));
}

}  // namespace leash
