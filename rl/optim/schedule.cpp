// Factors of the learning rate by optimizer step.
#include "rl/optim/schedule.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace leash {
namespace {

int64_t warmup_steps(const ScheduleConfig& config) {
  if (config.warmup_steps > 0) return config.warmup_steps;
  return static_cast<int64_t>(
      std::ceil(static_cast<double>(config.total_steps) * config.warmup_ratio));
}

// How far step is on the way from `begin` on, in a stretch of `length` steps.
double progress(int64_t step, int64_t begin, int64_t length) {
  return static_cast<double>(step - begin) / static_cast<double>(std::max<int64_t>(1, length));
}

// From 1 down to `floor` over the given number of half waves.
double cosine(double progress, double num_cycles, double floor) {
  const double wave = 0.5 * (1.0 + std::cos(std::numbers::pi * num_cycles * 2.0 * progress));
  return std::max(0.0, wave * (1.0 - floor) + floor);
}

double polynomial(const ScheduleConfig& config, int64_t step, int64_t warmup) {
  const double floor = config.lr_end / config.learning_rate;
  if (step > config.total_steps || config.total_steps <= warmup) return floor;
  const double left = 1.0 - progress(step, warmup, config.total_steps - warmup);
  return (1.0 - floor) * std::pow(left, config.power) + floor;
}

double inverse_sqrt(int64_t step, int64_t warmup) {
  const double timescale = warmup > 0 ? static_cast<double>(warmup) : 10000.0;
  const double shift = timescale - static_cast<double>(warmup);
  return 1.0 / std::sqrt((static_cast<double>(step) + shift) / timescale);
}

double warmup_stable_decay(const ScheduleConfig& config, int64_t step) {
  const int64_t decay_begin = config.total_steps - config.decay_steps;
  if (step < decay_begin) return 1.0;
  if (step >= config.total_steps) return config.min_lr_rate;
  return cosine(progress(step, decay_begin, config.decay_steps), config.num_cycles,
                config.min_lr_rate);
}

double factor_at(const ScheduleConfig& config, int64_t step) {
  if (config.type == SchedulerType::constant) return 1.0;
  const int64_t warmup = warmup_steps(config);
  if (step < warmup) {
    const double rise = static_cast<double>(step) / static_cast<double>(warmup);
    if (config.type != SchedulerType::warmup_stable_decay) return rise;
    return rise * (1.0 - config.min_lr_rate) + config.min_lr_rate;
  }
  const int64_t rest = config.total_steps - warmup;
  switch (config.type) {
    case SchedulerType::constant:
    case SchedulerType::constant_with_warmup:
      return 1.0;
    case SchedulerType::linear:
      return std::max(0.0, progress(config.total_steps, step, rest));
    case SchedulerType::cosine:
      return cosine(progress(step, warmup, rest), config.num_cycles, 0.0);
    case SchedulerType::cosine_with_min_lr:
      return cosine(progress(step, warmup, rest), config.num_cycles, config.min_lr_rate);
    case SchedulerType::polynomial:
      return polynomial(config, step, warmup);
    case SchedulerType::inverse_sqrt:
      return inverse_sqrt(step, warmup);
    case SchedulerType::warmup_stable_decay:
      return warmup_stable_decay(config, step);
  }
  TORCH_CHECK(false, "unknown schedule");
}

}  // namespace

double learning_rate_at(const ScheduleConfig& config, int64_t step) {
  TORCH_CHECK(step >= 0, "steps count from 0");
  return config.learning_rate * factor_at(config, step);
}

}  // namespace leash
