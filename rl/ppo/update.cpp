#include "rl/ppo/update.h"

namespace leash {

UpdateRules ppo_update_rules(const PpoSetup& setup) {
  UpdateRules rules = update_rules(setup, setup.ppo);
  rules.num_epochs = setup.ppo.num_ppo_epochs;
  rules.target_kl = setup.ppo.target_kl;
  rules.surrogate = {.epsilon = setup.ppo.cliprange,
                     .epsilon_high = setup.ppo.cliprange_high.value_or(setup.ppo.cliprange),
                     .delta = setup.ppo.delta,
                     .kl_estimator = setup.ppo.kl_estimator,
                     .kl_bias_correction = false,
                     .entropy_coef = setup.ppo.entropy_coef};
  rules.value = {.cliprange = setup.ppo.cliprange_value, .coef = setup.ppo.vf_coef};
  return rules;
}

}  // namespace leash
