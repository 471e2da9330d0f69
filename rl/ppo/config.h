// All settings of PPO's own sections, under TRL's names and with its defaults (PPOConfig of
// TRL 1.12) except where a comment says otherwise.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>
#include <utility>

#include "models/families/model_config.h"
#include "models/fields.h"
#include "rl/optim/optimizer.h"
#include "rl/policy/config.h"
#include "rl/policy/critic.h"
#include "rl/policy/kl.h"

namespace leash {

enum class CriticTrain { head, lora, all };
template <>
struct EnumNames<CriticTrain> {
  static constexpr std::pair<CriticTrain, std::string_view> values[] = {
      {CriticTrain::head, "head"}, {CriticTrain::lora, "lora"}, {CriticTrain::all, "all"}};
};
struct CriticConfig {
  CriticKind kind = CriticKind::shared;
  std::optional<ModelPath> path;
  std::optional<std::filesystem::path> start = {};
  CriticTrain train = CriticTrain::lora;
  std::optional<double> learning_rate = {};
  std::optional<SchedulerType> lr_scheduler_type = {};
  std::optional<int64_t> warmup_steps = {};
  OptimizerKind optim = OptimizerKind::adamw_torch;
  int64_t warmup_iterations = 0;
  bool backprop_to_policy = false;
};
template <class Config, class Visitor>
requires Describes<Config, CriticConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit("kind", c.kind,
        "none (not in ppo), shared (a head on the policy's trunk), adapter (LoRA of its own on the "
        "shared base), "
        "separate (a model of its own)");
  visit("path", c.path,
        "separate: the checkpoint (default: model.path); with a score.weight of one output its "
        "head starts there");
  visit("start", c.start,
        "where the critic starts: critic/ of an earlier run, or for kind: adapter the adapter/ of "
        "a run of task: reward (null: a head of zeros)");
  visit("train", c.train, "separate: head, lora or all");
  visit("learning_rate", c.learning_rate,
        "of the critic's own optimizer (null: by what trains: 1e-3 for a head alone, 1e-4 with "
        "LoRA, 1e-5 for all weights)",
        above(0));
  visit("lr_scheduler_type", c.lr_scheduler_type, "of its own (null: ppo.lr_scheduler_type)");
  visit("warmup_steps", c.warmup_steps,
        "iterations with a rising learning rate (null: as the policy)", at_least(0));
  visit("optim", c.optim,
        "adamw_torch, or for what is large (separate with train: all) adamw_8bit or "
        "paged_adamw_8bit");
  visit("warmup_iterations", c.warmup_iterations,
        "iterations at the start in which the critic learns and the policy stands still",
        at_least(0));
  visit("backprop_to_policy", c.backprop_to_policy,
        "shared: let the value loss change the policy's adapter");
}

struct PpoConfig : PolicyConfig {
  int64_t num_ppo_epochs = 4;
  double kl_coef = 0.05;
  KlEstimator kl_estimator = KlEstimator::k1;
  KlPlace kl_in = KlPlace::reward;
  std::optional<double> kl_target = {};
  std::optional<double> kl_horizon = {};
  std::optional<double> target_kl = {};
  double cliprange = 0.2;
  std::optional<double> cliprange_high = {};
  std::optional<double> delta = {};
  std::optional<double> cliprange_value = 0.2;
  double vf_coef = 0.1;
  double gamma = 1.0;
  double lam = 0.95;
  bool whiten_rewards = false;
  bool whiten_advantages = true;
};
template <class Config, class Visitor>
requires Describes<Config, PpoConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit_policy_fields(c, visit);
  visit("num_ppo_epochs", c.num_ppo_epochs, "passes over an iteration's answers", at_least(1));
  visit("kl_coef", c.kl_coef, "price of one nat of KL to the reference", at_least(0));
  visit("kl_estimator", c.kl_estimator,
        "of a token's KL: k1, k2 or k3 from log-probs, or exact over the vocabulary (a forward "
        "pass of the policy more, and in the loss one of the reference for each pass)");
  visit("kl_in", c.kl_in, "where it is paid: reward, or loss (by token)");
  visit("kl_target", c.kl_target,
        "adapt kl_coef towards this objective/kl per answer (null: fixed)", above(0));
  visit("kl_horizon", c.kl_horizon,
        "episodes over which kl_coef adapts, batch_size or more (null: a tenth of total_episodes, "
        "over which kl_coef can change e^0.2 times)",
        above(0));
  visit(
      "target_kl", c.target_kl,
      "an update ends after an epoch whose mean ½ (log ratio)² per token is above 1.5 times this, "
      "as in stable-baselines3 and Spinning Up (null: never)",
      above(0));
  visit("cliprange", c.cliprange, "of the probability ratio", above(0));
  visit("cliprange_high", c.cliprange_high, "the same upwards (null: cliprange; DAPO takes 0.28)",
        above(0));
  visit("delta", c.delta,
        "largest ratio where an advantage is negative: dual clip (null: none; verl takes 3)",
        above(0));
  visit("cliprange_value", c.cliprange_value, "of a value's change (null: none)", above(0));
  visit("vf_coef", c.vf_coef, "factor of the value loss", at_least(0));
  visit("gamma", c.gamma, "discount per token", within(0, 1));
  visit("lam", c.lam, "of generalised advantage estimation", within(0, 1));
  visit("whiten_rewards", c.whiten_rewards, "scale rewards to unit variance before advantages");
  visit("whiten_advantages", c.whiten_advantages,
        "to mean 0 and variance 1 over all answer tokens of the batch");
}

// critic.learning_rate, or the default for what the critic trains.
double learning_rate_of(const CriticConfig& critic);
// ppo.kl_horizon, or the default for a run of this length.
double kl_horizon_of(const PpoConfig& ppo);

}  // namespace leash
