// Settings shared by all supervised tasks. Names and defaults are those of
// transformers' TrainingArguments except where a comment says otherwise.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "models/fields.h"
#include "models/limits.h"
#include "rl/optim/optimizer.h"
#include "rl/optim/schedule.h"

namespace leash {

enum class EvalStrategy { no, steps, epoch };
template <>
struct EnumNames<EvalStrategy> {
  static constexpr std::pair<EvalStrategy, std::string_view> values[] = {
      {EvalStrategy::no, "no"}, {EvalStrategy::steps, "steps"}, {EvalStrategy::epoch, "epoch"}};
};

struct TrainingConfig {
  double num_train_epochs = 3.0;
  int64_t max_steps = -1;
  int64_t per_device_train_batch_size = 8;
  int64_t gradient_accumulation_steps = 1;
  int64_t micro_batch_tokens = 512;  // leash's own
  double learning_rate = 5e-5;
  SchedulerType lr_scheduler_type = SchedulerType::linear;
  std::map<std::string, double> lr_scheduler_kwargs = {};
  double warmup_ratio = 0.0;
  int64_t warmup_steps = 0;
  OptimizerKind optim = OptimizerKind::adamw_torch;
  double weight_decay = 0.0;
  double adam_beta1 = 0.9;
  double adam_beta2 = 0.999;
  double adam_epsilon = 1e-8;
  double max_grad_norm = 1.0;
  double fp16_init_scale = 65536.0;     // torch.amp.GradScaler: init_scale
  int64_t fp16_growth_interval = 2000;  // torch.amp.GradScaler: growth_interval
  bool group_by_length = false;
  std::optional<int64_t> data_seed = {};
  EvalStrategy eval_strategy = EvalStrategy::no;
  std::optional<int64_t> eval_steps = {};
  bool eval_on_start = false;
  bool load_best_model_at_end = false;
  std::optional<int64_t> early_stopping_patience = {};  // transformers: EarlyStoppingCallback's
};

// What visit_fields of a task's section begins with.
template <class Config, class Visitor>
void visit_training_fields(Config& c, Visitor&& visit) {
  visit("num_train_epochs", c.num_train_epochs, "passes over the data",
        Range{.min = 0, .max = kMostOfAnything, .min_open = true});
  visit("max_steps", c.max_steps, "optimizer steps; wins over num_train_epochs when above 0",
        at_least(-1));
  visit("per_device_train_batch_size", c.per_device_train_batch_size,
        "rows (samples, packs of them, or pairs) of one accumulation step", at_least(1));
  visit("gradient_accumulation_steps", c.gradient_accumulation_steps,
        "an optimizer step takes this many times per_device_train_batch_size rows; its loss is "
        "the mean over all of them together (over trained tokens, or pairs); several processes "
        "split them (the batch does not grow with their number)",
        at_least(1));
  visit("micro_batch_tokens", c.micro_batch_tokens,
        "tokens of one forward and backward pass (a longer row runs alone); changes memory, not "
        "results; where devices.policy is a GPU the default is 4096",
        at_least(1));
  visit("learning_rate", c.learning_rate, "the schedule's highest", above(0));
  visit("lr_scheduler_type", c.lr_scheduler_type, "how the learning rate changes");
  visit("lr_scheduler_kwargs", c.lr_scheduler_kwargs,
        "numbers of the schedule: num_cycles, min_lr, min_lr_rate, power, lr_end, "
        "num_decay_steps, min_lr_ratio");
  visit("warmup_ratio", c.warmup_ratio, "part of all steps with a rising learning rate",
        within(0, 1));
  visit("warmup_steps", c.warmup_steps, "the same in steps; wins when above 0", at_least(0));
  visit("optim", c.optim, "the optimizer; 8-bit kinds keep their states in blocks of 8 bits");
  visit("weight_decay", c.weight_decay,
        "of every trained tensor; decoupled from the gradient, but for sgd", at_least(0));
  visit("adam_beta1", c.adam_beta1, "the kinds of AdamW", from_below(0, 1));
  visit("adam_beta2", c.adam_beta2, "the kinds of AdamW", from_below(0, 1));
  visit("adam_epsilon", c.adam_epsilon, "the kinds of AdamW", above(0));
  visit("max_grad_norm", c.max_grad_norm, "gradients are clipped to this norm (0: never)",
        at_least(0));
  visit("fp16_init_scale", c.fp16_init_scale,
        "model.dtype float16: the first factor of the loss, which overflows halve",
        within(1, 1e38));
  visit("fp16_growth_interval", c.fp16_growth_interval,
        "model.dtype float16: the factor doubles after so many steps in a row without an overflow",
        at_least(1));
  visit("group_by_length", c.group_by_length, "batches of rows of similar length");
  visit("data_seed", c.data_seed, "of the data's order (null: run.seed)", within(0, kMostSeed));
  visit("eval_strategy", c.eval_strategy, "when the held-out data is evaluated");
  visit("eval_steps", c.eval_steps, "eval_strategy steps: every so many (null: run.logging_steps)",
        at_least(1));
  visit("eval_on_start", c.eval_on_start, "evaluate before the first step as well");
  visit("load_best_model_at_end", c.load_best_model_at_end,
        "adapter/ is the one with the lowest held-out loss, not the last");
  visit("early_stopping_patience", c.early_stopping_patience,
        "stop after this many evaluations in a row without a lower held-out loss (null: never)",
        at_least(1));
}

}  // namespace leash
