// Everything that a PPO run can be told, under TRL's names and with its defaults (PPOConfig of
// TRL 1.12) except where a comment says otherwise.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/fields.h"
#include "models/model_config.h"
#include "rl/kl.h"
#include "rl/optim/schedule.h"

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

enum class ReferenceKind { adapter_off, adapter, model };
template <>
struct EnumNames<ReferenceKind> {
  static constexpr std::pair<ReferenceKind, std::string_view> values[] = {
      {ReferenceKind::adapter_off, "adapter_off"},
      {ReferenceKind::adapter, "adapter"},
      {ReferenceKind::model, "model"}};
};
struct ReferenceConfig {
  // Default: the base without an adapter, or with lora.path a frozen copy of that adapter.
  std::optional<ReferenceKind> kind;
  std::optional<ModelPath> path;
};
template <class Config, class Visitor>
requires Describes<Config, ReferenceConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit("kind", c.kind,
        "adapter_off (the base), adapter (a frozen adapter; default with lora.path: a copy of that "
        "one), model (a checkpoint of its own)");
  visit("path", c.path, "of the adapter folder or the checkpoint");
}

enum class CriticKind { shared, adapter, separate };
template <>
struct EnumNames<CriticKind> {
  static constexpr std::pair<CriticKind, std::string_view> values[] = {
      {CriticKind::shared, "shared"},
      {CriticKind::adapter, "adapter"},
      {CriticKind::separate, "separate"}};
};
enum class CriticTrain { head, lora, all };
template <>
struct EnumNames<CriticTrain> {
  static constexpr std::pair<CriticTrain, std::string_view> values[] = {
      {CriticTrain::head, "head"}, {CriticTrain::lora, "lora"}, {CriticTrain::all, "all"}};
};
struct CriticConfig {
  CriticKind kind = CriticKind::shared;
  std::optional<ModelPath> path;
  CriticTrain train = CriticTrain::lora;
  double learning_rate = 1e-4;
  bool backprop_to_policy = false;
};
template <class Config, class Visitor>
requires Describes<Config, CriticConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit("kind", c.kind,
        "shared (a head on the policy's trunk), adapter (LoRA of its own on the shared base), "
        "separate (a model of its own)");
  visit("path", c.path, "separate: the checkpoint (default: model.path)");
  visit("train", c.train, "separate: head, lora or all");
  visit("learning_rate", c.learning_rate, "of the critic's own optimizer", above(0));
  visit("backprop_to_policy", c.backprop_to_policy,
        "shared: let the value loss change the policy's adapter");
}

enum class RewardKind { function, model, adapter, command, http };
template <>
struct EnumNames<RewardKind> {
  static constexpr std::pair<RewardKind, std::string_view> values[] = {
      {RewardKind::function, "function"},
      {RewardKind::model, "model"},
      {RewardKind::adapter, "adapter"},
      {RewardKind::command, "command"},
      {RewardKind::http, "http"}};
};
// One source of reward; the scores of all are added up with their weights.
struct RewardConfig {
  RewardKind kind = RewardKind::function;
  double weight = 1.0;
  std::optional<ModelPath> path;             // model: the checkpoint; adapter: its folder
  Quantize quantize = Quantize::none;        // model: its weights
  std::optional<std::string> name;           // function: which
  std::map<std::string, double> parameters;  // function: its numbers
  std::vector<std::string> words;            // function: its words
  std::optional<std::string> command;        // command: what a shell runs
};
template <class Config, class Visitor>
requires Describes<Config, RewardConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit("kind", c.kind,
        "function (by name), model (a sequence-classification checkpoint) or adapter (what task: "
        "reward trained, read on the shared base), or command (a program of your own); http is not "
        "built yet");
  visit("weight", c.weight, "factor of this score in the sum");
  visit("path", c.path, "model: the checkpoint; adapter: its folder");
  visit("quantize", c.quantize, "model: how its weights are kept in memory, as model.quantize");
  visit("name", c.name, "function: its name, see docs/algorithms/ppo.md");
  visit("parameters", c.parameters, "function: its numbers by name");
  visit("words", c.words, "function: its list of words");
  visit("command", c.command,
        "command: a shell runs it for every batch; it reads JSON lines with prompt, answer and "
        "ended, and prints a number per line");
}

struct PpoConfig {
  int64_t total_episodes = 640;
  int64_t batch_size = 32;
  int64_t num_mini_batches = 1;
  int64_t num_ppo_epochs = 4;
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
  double kl_coef = 0.05;
  KlEstimator kl_estimator = KlEstimator::k1;
  std::optional<bool> recompute_logprobs;
  std::optional<double> target_kl;
  double kl_horizon = 10000;
  double cliprange = 0.2;
  double cliprange_value = 0.2;
  double vf_coef = 0.1;
  double gamma = 1.0;
  double lam = 0.95;
  bool whiten_rewards = false;
  std::optional<double> missing_eos_penalty;
  int64_t eval_steps = 0;
  int64_t eval_samples = 1;
  std::optional<double> best_max_kl;
};
template <class Config, class Visitor>
requires Describes<Config, PpoConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit("total_episodes", c.total_episodes, "answers sampled in the whole run", at_least(1));
  visit("batch_size", c.batch_size, "answers per iteration; several processes divide them",
        at_least(1));
  visit("num_mini_batches", c.num_mini_batches, "optimizer steps per epoch", at_least(1));
  visit("num_ppo_epochs", c.num_ppo_epochs, "passes over an iteration's answers", at_least(1));
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
  visit("kl_coef", c.kl_coef, "price of one nat of KL to the reference", at_least(0));
  visit("recompute_logprobs", c.recompute_logprobs,
        "compute the answers' log-probs under the policy again, as the reference's are computed, "
        "instead of taking the sampler's: KL and ratios are then free of what their rounding "
        "differs by; costs a forward pass (null: where the model is in less than float32)");
  visit("kl_estimator", c.kl_estimator, "of a token's KL, in the reward: k1, k2 or k3");
  visit("target_kl", c.target_kl,
        "adapt kl_coef towards this objective/kl per answer (null: fixed)", above(0));
  visit("kl_horizon", c.kl_horizon, "episodes over which kl_coef adapts", above(0));
  visit("cliprange", c.cliprange, "of the probability ratio", above(0));
  visit("cliprange_value", c.cliprange_value, "of a value's change", above(0));
  visit("vf_coef", c.vf_coef, "factor of the value loss", at_least(0));
  visit("gamma", c.gamma, "discount per token", within(0, 1));
  visit("lam", c.lam, "of generalised advantage estimation", within(0, 1));
  visit("whiten_rewards", c.whiten_rewards, "scale rewards to unit variance before advantages");
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

}  // namespace leash
