// The plans of PPO's relatives: PPO's without a critic. The prompt that answers share is counted
// for each of them: how much sharing leaves out depends on the prompts.
#include "rl/grpo/task.h"
#include "rl/plan/plan.h"
#include "rl/reinforce/task.h"
#include "rl/rloo/task.h"

namespace leash {
namespace {

template <class Setup>
Plan plan_without_critic(const Setup& setup, const ModelFacts& model, const PlanOptions& options) {
  const auto& config = setup.*TaskTraits<Setup>::section;
  PpoSetup like;
  static_cast<PolicySetup&>(like) = setup;
  static_cast<PolicyConfig&>(like.ppo) = config;
  like.ppo.num_ppo_epochs = config.num_iterations;
  if (config.beta > 0) like.ppo.kl_estimator = config.kl_estimator;
  like.critic.kind = CriticKind::none;
  Plan plan = plan_of(like, model, options);
  plan.task = TaskTraits<Setup>::name;
  return plan;
}

}  // namespace

Plan plan_of(const GrpoSetup& setup, const ModelFacts& model, const PlanOptions& options) {
  return plan_without_critic(setup, model, options);
}

Plan plan_of(const RlooSetup& setup, const ModelFacts& model, const PlanOptions& options) {
  return plan_without_critic(setup, model, options);
}

Plan plan_of(const ReinforceSetup& setup, const ModelFacts& model, const PlanOptions& options) {
  return plan_without_critic(setup, model, options);
}

}  // namespace leash
