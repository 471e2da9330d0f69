// The rules of `task: sft`.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "configs/checker.h"
#include "configs/checks.h"

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

void check_sft_schedule(const SftConfig& sft, Checker& check) {
  const bool warms_up = sft.lr_scheduler_type != SchedulerType::constant;
  check.no_effect_unless(warms_up, "sft.warmup_ratio", "with lr_scheduler_type: constant");
  check.no_effect_unless(warms_up, "sft.warmup_steps", "with lr_scheduler_type: constant");
  check.no_effect_unless(sft.warmup_steps == 0, "sft.warmup_ratio", "beside sft.warmup_steps");
  const auto known = schedule_settings(sft.lr_scheduler_type);
  for (const auto& [name, value] : sft.lr_scheduler_kwargs) {
    check.require(std::ranges::find(known, name) != known.end(), "sft.lr_scheduler_kwargs",
                  fmt::format("has a number `{}` that lr_scheduler_type: {} does not read", name,
                              enum_name(sft.lr_scheduler_type)));
    check.require(std::isfinite(value) && value >= 0, "sft.lr_scheduler_kwargs",
                  fmt::format("`{}` has to be at least 0", name));
  }
  const auto has = [&](const char* name) { return sft.lr_scheduler_kwargs.contains(name); };
  check.require(
      sft.lr_scheduler_type != SchedulerType::warmup_stable_decay || has("num_decay_steps"),
      "sft.lr_scheduler_kwargs", "lacks num_decay_steps of warmup_stable_decay");
  check.require(sft.lr_scheduler_type != SchedulerType::cosine_with_min_lr || has("min_lr") ||
                    has("min_lr_rate"),
                "sft.lr_scheduler_kwargs", "lacks min_lr or min_lr_rate of cosine_with_min_lr");
  check.require(sft.max_steps != 0, "sft.max_steps", "has to be above 0, or -1 for all epochs");
}

void check_optimizer(const SftConfig& sft, Checker& check) {
  const bool adamw = sft.optim != OptimizerKind::sgd && sft.optim != OptimizerKind::adafactor;
  for (const char* path : {"sft.adam_beta1", "sft.adam_beta2", "sft.adam_epsilon"}) {
    check.no_effect_unless(adamw, path, "with this sft.optim");
  }
}

void check_held_out(const SftSetup& s, Checker& check) {
  const bool has_data = s.data.eval || s.data.eval_split > 0;
  const bool evaluates = has_data && s.sft.eval_strategy != EvalStrategy::no;
  check.no_effect_unless(!s.data.eval, "data.eval_split", "beside data.eval");
  check.require(has_data || s.sft.eval_strategy == EvalStrategy::no, "sft.eval_strategy",
                "needs data.eval or data.eval_split");
  check.no_effect_unless(evaluates && s.sft.eval_strategy == EvalStrategy::steps, "sft.eval_steps",
                         "without eval_strategy: steps and held-out data");
  check.no_effect_unless(has_data, "sft.eval_on_start", "without data.eval or data.eval_split");
  check.no_effect_unless(evaluates || (has_data && s.sft.eval_on_start), "sft.eval_answers",
                         "without evaluations");
  check.no_effect_unless(evaluates, "sft.load_best_model_at_end",
                         "without eval_strategy and held-out data");
  check.no_effect_unless(evaluates, "sft.early_stopping_patience",
                         "without eval_strategy and held-out data");
}

}  // namespace

void check(const SftSetup& setup, const Written& written, Problems& problems) {
  Checker checker(written, problems);
  check_quantize(setup.model, checker);
  check_lora(setup.lora, checker);
  checker.require(setup.lora.task_type == TaskType::CAUSAL_LM, "lora.task_type",
                  "task: sft trains CAUSAL_LM adapters");
  checker.require(!setup.data.train.empty(), "data.train", "is missing: a JSONL file with samples");
  checker.no_effect_unless(setup.data.shuffle, "sft.group_by_length", "with data.shuffle: false");
  const bool draws = setup.data.shuffle || (!setup.data.eval && setup.data.eval_split > 0);
  checker.no_effect_unless(draws, "sft.data_seed",
                           "with data.shuffle: false and without data.eval_split");
  check_optimizer(setup.sft, checker);
  check_sft_schedule(setup.sft, checker);
  check_held_out(setup, checker);
}

std::vector<std::string> warnings(const SftSetup&, const Written&) { return {}; }

}  // namespace leash
