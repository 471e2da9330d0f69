#include "configs/training_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "models/limits.h"

namespace leash {
namespace {

// What of lr_scheduler_kwargs a schedule reads.
std::vector<std::string> schedule_settings(SchedulerType type) {
  switch (type) {
    case SchedulerType::cosine:
      return {"num_cycles"};
    case SchedulerType::cosine_with_min_lr:
      return {"num_cycles", "min_lr", "min_lr_rate"};
    case SchedulerType::polynomial:
      return {"power", "lr_end"};
    case SchedulerType::warmup_stable_decay:
      return {"num_cycles", "num_decay_steps", "min_lr_ratio"};
    case SchedulerType::constant:
    case SchedulerType::constant_with_warmup:
    case SchedulerType::linear:
    case SchedulerType::inverse_sqrt:
      return {};
  }
  return {};
}

void check_schedule(const TrainingConfig& config, const std::string& section, Checker& check) {
  check_rate(config.learning_rate, section + ".learning_rate", check);
  const bool warms_up = config.lr_scheduler_type != SchedulerType::constant;
  check.no_effect_unless(warms_up, section + ".warmup_ratio", "with lr_scheduler_type: constant");
  check.no_effect_unless(warms_up, section + ".warmup_steps", "with lr_scheduler_type: constant");
  check.no_effect_unless(config.warmup_steps == 0, section + ".warmup_ratio",
                         "beside " + section + ".warmup_steps");
  const auto known = schedule_settings(config.lr_scheduler_type);
  const std::string kwargs = section + ".lr_scheduler_kwargs";
  for (const auto& [name, value] : config.lr_scheduler_kwargs) {
    check.require(std::ranges::find(known, name) != known.end(), kwargs,
                  fmt::format("has a number `{}` that lr_scheduler_type: {} does not read", name,
                              enum_name(config.lr_scheduler_type)));
    check.require(value >= 0 && value <= kMostOfAnything, kwargs,
                  fmt::format("`{}` has to be at least 0 and at most {}", name, kMostOfAnything));
  }
  const auto has = [&](const char* name) { return config.lr_scheduler_kwargs.contains(name); };
  check.require(
      config.lr_scheduler_type != SchedulerType::warmup_stable_decay || has("num_decay_steps"),
      kwargs, "lacks num_decay_steps of warmup_stable_decay");
  check.require(config.lr_scheduler_type != SchedulerType::cosine_with_min_lr || has("min_lr") ||
                    has("min_lr_rate"),
                kwargs, "lacks min_lr or min_lr_rate of cosine_with_min_lr");
  check.require(config.max_steps != 0, section + ".max_steps",
                "has to be above 0, or -1 for all epochs");
}

void check_optimizer(const TrainingConfig& config, const std::string& section, Checker& check) {
  const bool adamw = config.optim != OptimizerKind::sgd && config.optim != OptimizerKind::adafactor;
  for (const char* name : {".adam_beta1", ".adam_beta2", ".adam_epsilon"}) {
    check.no_effect_unless(adamw, section + name, "with this " + section + ".optim");
  }
}

void check_held_out(const TrainingConfig& config, const TrainingContext& context, Checker& check) {
  const std::string& section = context.section;
  const bool has_data = context.has_held_out();
  const bool after_steps = evaluates(config, context);
  check.no_effect_unless(!context.has_eval_file, "data.eval_split", "beside data.eval");
  check.require(has_data || config.eval_strategy == EvalStrategy::no, section + ".eval_strategy",
                "needs data.eval or data.eval_split");
  check.no_effect_unless(after_steps && config.eval_strategy == EvalStrategy::steps,
                         section + ".eval_steps", "without eval_strategy: steps and held-out data");
  check.no_effect_unless(has_data, section + ".eval_on_start",
                         "without data.eval or data.eval_split");
  for (const char* name : {".load_best_model_at_end", ".early_stopping_patience"}) {
    check.no_effect_unless(after_steps, section + name, "without eval_strategy and held-out data");
  }
}

}  // namespace

bool evaluates(const TrainingConfig& config, const TrainingContext& context) {
  return context.has_held_out() && config.eval_strategy != EvalStrategy::no;
}

void check_training(const TrainingConfig& config, const TrainingContext& context, Checker& check) {
  check.no_effect_unless(false, "run.samples_per_step",
                         "with a task that trains on given examples");
  check.no_effect_unless(context.shuffle, context.section + ".group_by_length",
                         "with data.shuffle: false");
  const bool draws = context.shuffle || (!context.has_eval_file && context.has_split);
  check.no_effect_unless(draws, context.section + ".data_seed",
                         "with data.shuffle: false and without data.eval_split");
  check_optimizer(config, context.section, check);
  for (const char* name : {".fp16_init_scale", ".fp16_growth_interval"}) {
    check.no_effect_unless(context.float16, context.section + name, "without model.dtype: float16");
  }
  check_schedule(config, context.section, check);
  check_held_out(config, context, check);
}

}  // namespace leash
