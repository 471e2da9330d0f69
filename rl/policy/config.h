// All settings that PPO shares with its relatives: how answers are sampled, and what the loop over
// sampled answers needs to know whatever its losses are.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "models/families/model_config.h"
#include "models/fields.h"
#include "models/lora/lora.h"
#include "rl/data/data_config.h"
#include "rl/optim/schedule.h"
#include "rl/policy/importance.h"
#include "rl/reference/config.h"
#include "rl/reward/config.h"
#include "rl/run/devices_config.h"
#include "rl/run/run_config.h"
#include "rollout/lanes.h"

namespace leash {

struct RolloutConfig {
  double temperature = 0.7;
  int64_t top_k = 0;
  double top_p = 1.0;
  double min_p = 0.0;
  double repetition_penalty = 1.0;
  int64_t response_length = 53;
  int64_t min_new_tokens = 0;
  std::optional<std::string> stop_token = "eos";  // TRL: None
  std::vector<std::string> stop_texts;
  int64_t max_batch = 64;
};
template <class Config, class Visitor>
requires Describes<Config, RolloutConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit("temperature", c.temperature,
        "answers are drawn from softmax(logits / temperature); log-probs of policy and reference "
        "use it too",
        above(0));
  visit("top_k", c.top_k, "draw from the k likeliest tokens (0: all)", at_least(0));
  visit("top_p", c.top_p, "draw from the likeliest tokens that hold this probability",
        Range{.min = 0, .max = 1, .min_open = true});
  visit("min_p", c.min_p, "leave out tokens below this fraction of the likeliest one's probability",
        from_below(0, 1));
  visit("repetition_penalty", c.repetition_penalty,
        "divides (or multiplies, where negative) the logits of tokens seen before", above(0));
  visit("response_length", c.response_length, "most new tokens of an answer", at_least(1));
  visit("min_new_tokens", c.min_new_tokens, "an answer cannot end before", at_least(0));
  visit("stop_token", c.stop_token,
        "eos, the text of one token, or null: answers always have response_length tokens");
  visit("stop_texts", c.stop_texts, "texts that end an answer");
  visit("max_batch", c.max_batch, "sequences that decode together", at_least(1));
}

// What the section of every such task begins with.
struct PolicyConfig {
  int64_t total_episodes = 640;
  int64_t batch_size = 32;
  int64_t num_mini_batches = 1;
  int64_t micro_batch_tokens = 512;
  double learning_rate = 1e-5;  // TRL: 3e-6, for full fine-tuning
  SchedulerType lr_scheduler_type = SchedulerType::linear;
  double warmup_ratio = 0.0;
  int64_t warmup_steps = 0;
  double adam_beta1 = 0.9;
  double adam_beta2 = 0.999;
  double adam_epsilon = 1e-8;
  double weight_decay = 0.0;
  double max_grad_norm = 1.0;  // TRL has the key (from TrainingArguments) but never clips
  std::optional<bool> recompute_logprobs = {};
  bool importance_sampling_correction = false;  // TRL: true, where vLLM samples
  CorrectionMode importance_sampling_mode = CorrectionMode::sequence_mask;
  std::optional<double> importance_sampling_clip_max = 3.0;
  std::optional<double> importance_sampling_clip_min = {};
  double entropy_coef = 0.0;
  std::optional<double> missing_eos_penalty = {};
  int64_t eval_steps = 0;
  int64_t eval_samples = 1;
  std::optional<double> best_max_kl = {};
};
template <class Config, class Visitor>
void visit_policy_fields(Config& c, Visitor&& visit) {
  visit("total_episodes", c.total_episodes, "answers sampled in the whole run", at_least(1));
  visit("batch_size", c.batch_size, "answers per iteration; several processes split them",
        at_least(1));
  visit("num_mini_batches", c.num_mini_batches, "optimizer steps per epoch", at_least(1));
  visit("micro_batch_tokens", c.micro_batch_tokens,
        "tokens of one forward and backward pass; changes memory, not results; where "
        "devices.policy is a GPU the default is 4096",
        at_least(1));
  visit("learning_rate", c.learning_rate, "of the policy's adapter", above(0));
  visit("lr_scheduler_type", c.lr_scheduler_type, "of both learning rates");
  visit("warmup_ratio", c.warmup_ratio, "part of all iterations with a rising learning rate",
        within(0, 1));
  visit("warmup_steps", c.warmup_steps, "the same in iterations; wins when above 0", at_least(0));
  visit("adam_beta1", c.adam_beta1, "AdamW", from_below(0, 1));
  visit("adam_beta2", c.adam_beta2, "AdamW", from_below(0, 1));
  visit("adam_epsilon", c.adam_epsilon, "AdamW", above(0));
  visit("weight_decay", c.weight_decay, "AdamW", at_least(0));
  visit("max_grad_norm", c.max_grad_norm,
        "gradients of policy and critic are each clipped to this norm (0: never)", at_least(0));
  visit("recompute_logprobs", c.recompute_logprobs,
        "compute the answers' log-probs under the policy again, as the reference's are computed, "
        "instead of taking the sampler's: KL and ratios are then free of what their rounding "
        "differs by; costs a forward pass (null: with importance_sampling_correction, and in less "
        "than "
        "float32 where `leash --version` does not say that both are the same bits)");
  visit("importance_sampling_correction", c.importance_sampling_correction,
        "weigh the policy's loss by the ratio of the log-probs that were computed again to the "
        "sampler's");
  visit("importance_sampling_mode", c.importance_sampling_mode,
        "ratios of tokens or of whole answers (their product); what is out of bounds is moved to "
        "the bound (truncate) or counts 0 (mask)");
  visit("importance_sampling_clip_max", c.importance_sampling_clip_max,
        "largest ratio (null: none)", above(0));
  visit("importance_sampling_clip_min", c.importance_sampling_clip_min, "least ratio (null: none)",
        above(0));
  visit("entropy_coef", c.entropy_coef,
        "the policy's mean entropy per token, times this, is added to what is maximised; its "
        "gradient is exact and costs two more products with the head",
        at_least(0));
  visit("missing_eos_penalty", c.missing_eos_penalty,
        "taken from the score of an answer that did not end by itself", at_least(0));
  visit("eval_steps", c.eval_steps,
        "evaluate on data.eval every so many iterations (0: only before and after)", at_least(0));
  visit("eval_samples", c.eval_samples, "sampled answers per held-out prompt", at_least(1));
  visit("best_max_kl", c.best_max_kl,
        "the best snapshot is the one with the highest held-out reward among those with at most "
        "this exact KL per answer (eval/sampled/kl, at temperature 1)",
        above(0));
}

struct AsyncConfig {
  int64_t max_staleness = 0;
};
template <class Config, class Visitor>
requires Describes<Config, AsyncConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit("max_staleness", c.max_staleness,
        "updates by which the policy that samples may be behind: 0, or 1: the next batch is "
        "answered while this one trains",
        within(0, 1));
}

// What such a recipe says besides its task's own sections.
struct PolicySetup {
  ModelConfig model = {};
  LoraConfig lora = {};
  ReferenceConfig reference = {};
  std::vector<RewardConfig> reward = {};
  PromptDataConfig data = {};
  RolloutConfig rollout = {};
  DevicesConfig devices = {};
  LanesConfig lanes = {};
  AsyncConfig async = {};
  RunConfig run = {};
};

}  // namespace leash
