// All settings of `task: reinforce`: REINFORCE++ (Hu et al. 2025), with a baseline where one is
// asked for. TRL has no such task: names are those of its GRPOConfig, defaults those of OpenRLHF's
// `reinforce` estimator except where docs/algorithms/reinforce.md says otherwise.
#pragma once

#include "models/fields.h"
#include "rl/policy/group_advantages.h"
#include "rl/policy/group_config.h"

namespace leash {

struct ReinforceConfig : GroupConfig {
  ReinforceConfig() {
    num_generations = 1;
    beta = 0.01;
    kl_in = KlPlace::reward;
    kl_estimator = KlEstimator::k1;
  }

  Baseline baseline = Baseline::none;
  bool whiten_advantages = true;
  double gamma = 1.0;
};
template <class Config, class Visitor>
requires Describes<Config, ReinforceConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit_group_fields(c, visit);
  visit("baseline", c.baseline,
        "subtracted from an answer's score: none, the mean of the batch, or that of its group "
        "(REINFORCE++-baseline)");
  visit("whiten_advantages", c.whiten_advantages,
        "to mean 0 and variance 1 over all answer tokens of the batch");
  visit("gamma", c.gamma, "discount per token", within(0, 1));
}

// What a recipe says about a REINFORCE++ run.
struct ReinforceSetup : PolicySetup {
  ReinforceSetup() { rollout.temperature = 1.0; }  // OpenRLHF's; 0.7 is that of TRL's PPO

  ReinforceConfig reinforce = {};
};

}  // namespace leash
