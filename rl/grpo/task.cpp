#include "rl/grpo/task.h"

#include "rl/policy/group_shape.h"

namespace leash {
namespace {

SurrogateKind surrogate_of(GrpoLoss loss) {
  switch (loss) {
    case GrpoLoss::cispo:
      return SurrogateKind::cispo;
    case GrpoLoss::sapo:
      return SurrogateKind::sapo;
    case GrpoLoss::vespo:
      return SurrogateKind::vespo;
    default:
      return SurrogateKind::clipped;
  }
}

// As TRL 1.16 divides.
Aggregation aggregation_of(GrpoLoss loss) {
  switch (loss) {
    case GrpoLoss::grpo:
    case GrpoLoss::sapo:
      return Aggregation::answers;
    case GrpoLoss::bnpo:
      return Aggregation::tokens;
    case GrpoLoss::dr_grpo:
      return Aggregation::constant_length;
    case GrpoLoss::luspo:
      return Aggregation::answer_sums;
    case GrpoLoss::dapo:
    case GrpoLoss::cispo:
    case GrpoLoss::vespo:
      return Aggregation::iteration_tokens;
  }
  return Aggregation::tokens;
}

void shape_grpo(Experience& experience, const GrpoSetup& setup, double beta) {
  const GrpoConfig& config = setup.grpo;
  prepare(experience, setup, config);
  const at::Tensor rewards = answer_rewards(experience, experience.scores, config, beta);
  spread_advantages(experience,
                    group_advantages(rewards, config.num_generations, config.scale_rewards));
}

}  // namespace

PolicyTask policy_task(const GrpoSetup& setup) {
  const GrpoConfig& config = setup.grpo;
  PolicyTask task = group_task(setup, config, "grpo");
  task.rules.top_entropy_quantile = config.top_entropy_quantile;
  SurrogateRules& surrogate = task.rules.surrogate;
  surrogate.level = config.importance_sampling_level;
  surrogate.kind = surrogate_of(config.loss_type);
  surrogate.aggregation = aggregation_of(config.loss_type);
  surrogate.kl_bias_correction = config.use_bias_correction_kl;
  surrogate.sapo_temperature_neg = config.sapo_temperature_neg;
  surrogate.sapo_temperature_pos = config.sapo_temperature_pos;
  surrogate.vespo_k_pos = config.vespo_k_pos;
  surrogate.vespo_lambda_pos = config.vespo_lambda_pos;
  surrogate.vespo_k_neg = config.vespo_k_neg;
  surrogate.vespo_lambda_neg = config.vespo_lambda_neg;
  task.shape = [&setup](Experience& experience, double beta) {
    shape_grpo(experience, setup, beta);
  };
  return task;
}

}  // namespace leash
