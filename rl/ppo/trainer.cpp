#include "rl/ppo/trainer.h"

#include "rl/policy/experience.h"
#include "rl/ppo/critic.h"
#include "rl/ppo/shape.h"
#include "rl/ppo/update.h"

namespace leash {
namespace {

CriticTraining critic_training(const PpoSetup& setup) {
  const CriticConfig& critic = setup.critic;
  return {.learning_rate = learning_rate_of(critic),
          .lr_scheduler_type = critic.lr_scheduler_type.value_or(setup.ppo.lr_scheduler_type),
          .warmup_steps = critic.warmup_steps,
          .optim = critic.optim,
          .warmup_iterations = critic.warmup_iterations};
}

// `setup` outlives the task.
PolicyTask ppo_task(const PpoSetup& setup) {
  const bool exact = setup.ppo.kl_estimator == KlEstimator::exact;
  return {.section = "ppo",
          .rules = ppo_update_rules(setup),
          .judging = {.reference = !exact, .exact_kl = exact},
          .kl_coef = setup.ppo.kl_coef,
          .kl_in_loss = setup.ppo.kl_in == KlPlace::loss,
          .kl_target = setup.ppo.kl_target,
          .kl_horizon = kl_horizon_of(setup.ppo),
          .critic = critic_training(setup),
          .shape = [&setup](Experience& experience,
                            double kl_coef) { shape(experience, setup.ppo, kl_coef); },
          .metrics = experience_metrics};
}

}  // namespace

PpoTrainer::PpoTrainer(PpoSetup setup, const RunContext& context)
    : setup_(std::move(setup)),
      loop_(setup_, setup_.ppo, ppo_task(setup_),
            load_ppo_roles(setup_, sharded_base(setup_.run, context.communicator)), context) {}

}  // namespace leash
