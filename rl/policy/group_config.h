// Settings of the tasks that learn without a critic, by comparing answers. Names and, where TRL has
// the task, defaults are those of TRL 1.16 (GRPOConfig, RLOOConfig).
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "models/fields.h"
#include "rl/policy/config.h"
#include "rl/policy/kl.h"

namespace leash {

struct GroupConfig : PolicyConfig {
  int64_t num_generations = 8;
  int64_t num_iterations = 1;
  double beta = 0.0;
  KlPlace kl_in = KlPlace::loss;
  KlEstimator kl_estimator = KlEstimator::k3;
  std::optional<double> kl_target = {};
  std::optional<double> kl_horizon = {};
  double epsilon = 0.2;
  std::optional<double> epsilon_high = {};
  std::optional<double> delta = {};
  bool mask_truncated_completions = false;
  int64_t overlong_buffer_len = 0;
  double overlong_penalty_factor = 1.0;
  int64_t max_num_gen_batches = 1;
};
template <class Config, class Visitor>
void visit_group_fields(Config& c, Visitor&& visit) {
  visit_policy_fields(c, visit);
  visit("num_generations", c.num_generations,
        "answers per prompt; batch_size has to be a multiple of it", at_least(1));
  visit("num_iterations", c.num_iterations, "passes over an iteration's answers", at_least(1));
  visit("beta", c.beta,
        "price of one nat of KL to the reference (0: none, and the reference is not asked while "
        "training)",
        at_least(0));
  visit("kl_in", c.kl_in, "where it is paid: loss (by token) or reward");
  visit("kl_estimator", c.kl_estimator,
        "of a token's KL: k1, k2 or k3 from log-probs, or exact over the vocabulary (a forward "
        "pass of the policy more, and in the loss one of the reference for each pass)");
  visit("kl_target", c.kl_target, "adapt beta towards this objective/kl per answer (null: fixed)",
        above(0));
  visit("kl_horizon", c.kl_horizon,
        "episodes over which beta adapts, batch_size or more (null: a tenth of total_episodes)",
        above(0));
  visit("epsilon", c.epsilon, "of the probability ratio, downwards", above(0));
  visit("epsilon_high", c.epsilon_high,
        "the same upwards (null: epsilon; DAPO takes 0.28; with loss_type: cispo the largest "
        "weight, for which ScaleRL takes 5)",
        above(0));
  visit("delta", c.delta,
        "largest ratio where an advantage is negative: two-sided clipping (dual clip)", above(0));
  visit("mask_truncated_completions", c.mask_truncated_completions,
        "leave answers that did not end by themselves out of the loss; their scores still count in "
        "their groups");
  visit("overlong_buffer_len", c.overlong_buffer_len,
        "DAPO's soft punishment: from so many tokens before rollout.response_length on, an answer "
        "loses score by the token (0: never)",
        at_least(0));
  visit("overlong_penalty_factor", c.overlong_penalty_factor,
        "what an answer of rollout.response_length tokens loses", above(0));
  visit("max_num_gen_batches", c.max_num_gen_batches,
        "DAPO's dynamic sampling: groups whose scores are all alike are replaced by answers to the "
        "next prompts, in at most so many rounds of sampling an iteration; what is missing then "
        "stays as it is (1: never)",
        at_least(1));
}

// kl_horizon, or the default for a run of this length.
inline double kl_horizon_of(const GroupConfig& config) {
  const auto tenth = static_cast<double>(config.total_episodes) / 10.0;
  return config.kl_horizon.value_or(std::max(tenth, static_cast<double>(config.batch_size)));
}

}  // namespace leash
