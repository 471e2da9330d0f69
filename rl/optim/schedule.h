// Learning-rate schedules under transformers' names and with its values at every step.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "models/fields.h"

namespace leash {

enum class SchedulerType {
  constant,
  constant_with_warmup,
  linear,
  cosine,
  cosine_with_min_lr,
  polynomial,
  inverse_sqrt,
  warmup_stable_decay
};
template <>
struct EnumNames<SchedulerType> {
  static constexpr std::pair<SchedulerType, std::string_view> values[] = {
      {SchedulerType::constant, "constant"},
      {SchedulerType::constant_with_warmup, "constant_with_warmup"},
      {SchedulerType::linear, "linear"},
      {SchedulerType::cosine, "cosine"},
      {SchedulerType::cosine_with_min_lr, "cosine_with_min_lr"},
      {SchedulerType::polynomial, "polynomial"},
      {SchedulerType::inverse_sqrt, "inverse_sqrt"},
      {SchedulerType::warmup_stable_decay, "warmup_stable_decay"}};
};

struct ScheduleConfig {
  SchedulerType type = SchedulerType::linear;
  double learning_rate = 1e-5;
  int64_t warmup_steps = 0;   // wins over warmup_ratio when > 0, as transformers
  double warmup_ratio = 0.0;  // of total_steps, rounded up
  int64_t total_steps = 0;
  double min_lr_rate = 0.0;  // cosine_with_min_lr and warmup_stable_decay: the floor as a fraction
                             // of learning_rate (transformers' min_lr_ratio for the latter)
  double power = 1.0;        // polynomial
  double lr_end = 1e-7;      // polynomial
  double num_cycles = 0.5;   // half waves of cosine, cosine_with_min_lr and warmup_stable_decay
  int64_t decay_steps = 0;   // warmup_stable_decay: the last steps, in which it falls
};

// The learning rate of optimizer step `step` (0-based: the first update uses step 0, as
// transformers' LambdaLR).
double learning_rate_at(const ScheduleConfig& config, int64_t step);

}  // namespace leash
