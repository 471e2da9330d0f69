#include "rl/ppo/trainer.h"

#include "rl/policy/experience.h"
#include "rl/ppo/critic.h"
#include "rl/ppo/shape.h"
#include "rl/ppo/update.h"

namespace leash {
namespace {

// `setup` outlives the task.
PolicyTask ppo_task(const PpoSetup& setup) {
  return {.section = "ppo",
          .rules = ppo_update_rules(setup),
          .kl_coef = setup.ppo.kl_coef,
          .kl_target = setup.ppo.kl_target,
          .kl_horizon = kl_horizon_of(setup.ppo),
          .critic_learning_rate = learning_rate_of(setup.critic),
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
