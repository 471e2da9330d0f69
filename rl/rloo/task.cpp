#include "rl/rloo/task.h"

#include <ATen/ops/clamp.h>

#include "rl/policy/group_advantages.h"
#include "rl/policy/group_shape.h"

namespace leash {
namespace {

void shape_rloo(Experience& experience, const RlooSetup& setup, double beta) {
  const RlooConfig& config = setup.rloo;
  prepare(experience, setup, config);
  at::Tensor scores = experience.scores;
  if (const auto& range = config.reward_clip_range)
    scores = at::clamp(scores, range->at(0), range->at(1));
  at::Tensor advantages = leave_one_out_advantages(answer_rewards(experience, scores, config, beta),
                                                   config.num_generations);
  if (config.normalize_advantages) advantages = normalised_advantages(advantages);
  spread_advantages(experience, advantages);
}

}  // namespace

PolicyTask policy_task(const RlooSetup& setup) {
  const RlooConfig& config = setup.rloo;
  PolicyTask task = group_task(setup, config, "rloo");
  task.rules.surrogate.level = RatioLevel::sequence_product;
  task.rules.surrogate.aggregation = Aggregation::answers;
  task.shape = [&setup](Experience& experience, double beta) {
    shape_rloo(experience, setup, beta);
  };
  return task;
}

}  // namespace leash
