#include "rl/policy/group_shape.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/where.h>

#include "rl/policy/experience.h"
#include "rl/policy/group_advantages.h"
#include "rl/policy/rewards.h"

namespace leash {
namespace {

Metrics group_metrics(const Experience& experience, const GroupConfig& config, double beta) {
  Metrics metrics = answer_metrics(experience, beta);
  const FlatGroups flat =
      flat_group_share(experience.scores.to(at::kDouble), config.num_generations);
  metrics.emplace_back("frac_reward_zero_std", flat.share);
  metrics.emplace_back("frac_reward_zero_std_all_high", flat.high);
  metrics.emplace_back("frac_reward_zero_std_all_low", flat.low);
  return metrics;
}

}  // namespace

PolicyTask group_task(const PolicySetup& setup, const GroupConfig& config, const char* section) {
  UpdateRules rules = update_rules(setup, config);
  rules.minibatches.group_size = config.num_generations;
  rules.num_epochs = config.num_iterations;
  rules.surrogate.epsilon = config.epsilon;
  rules.surrogate.epsilon_high = config.epsilon_high.value_or(config.epsilon);
  rules.surrogate.kl_estimator = config.kl_estimator;
  rules.surrogate.kl_bias_correction = false;
  rules.surrogate.delta = config.delta;
  const bool exact = config.kl_estimator == KlEstimator::exact;
  return {.section = section,
          .group_size = config.num_generations,
          .max_num_gen_batches = config.max_num_gen_batches,
          .rules = rules,
          .judging = {.reference = config.beta > 0 && !exact,
                      .exact_kl = config.beta > 0 && exact,
                      .by_prompt = config.num_generations > 1},
          .kl_coef_key = "beta",
          .kl_coef = config.beta,
          .kl_in_loss = config.beta > 0 && config.kl_in == KlPlace::loss,
          .kl_target = config.kl_target,
          .kl_horizon = kl_horizon_of(config),
          .metrics = [&config](const Experience& experience, double beta) {
            return group_metrics(experience, config, beta);
          }};
}

void prepare(Experience& experience, const PolicySetup& setup, const GroupConfig& config) {
  if (config.overlong_buffer_len > 0) {
    const at::Tensor penalties =
        overlong_penalties(experience.mask.sum(1), setup.rollout.response_length,
                           config.overlong_buffer_len, config.overlong_penalty_factor);
    experience.scores = experience.scores - penalties.to(experience.scores.scalar_type());
  }
  experience.kl = token_kl(experience, config.kl_estimator);
  if (!config.mask_truncated_completions) return;
  experience.counted = experience.mask.clone();
  for (int64_t row = 0; row < experience.batch(); ++row) {
    if (!ended_by_itself(experience.answers[static_cast<size_t>(row)])) {
      experience.counted[row].fill_(false);
    }
  }
}

at::Tensor answer_rewards(const Experience& experience, const at::Tensor& scores,
                          const GroupConfig& config, double beta) {
  const at::Tensor rewards = scores.to(at::kDouble);
  if (config.kl_in == KlPlace::loss || beta == 0) return rewards;
  const at::Tensor kl = at::where(experience.mask, experience.kl, 0.0).to(at::kDouble);
  return rewards - kl.sum(1) * beta;
}

void spread_advantages(Experience& experience, const at::Tensor& advantages) {
  const at::Tensor by_row = advantages.to(experience.logprobs.scalar_type()).unsqueeze(1);
  experience.advantages = at::where(experience.mask, by_row, 0.0);
}

}  // namespace leash
