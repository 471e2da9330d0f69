// All settings of RLOO's own section, under the names and with the defaults of TRL 1.16's
// RLOOConfig except where a comment or docs/algorithms/rloo.md says otherwise.
#pragma once

#include <optional>
#include <vector>

#include "models/fields.h"
#include "rl/policy/group_config.h"

namespace leash {

struct RlooConfig : GroupConfig {
  RlooConfig() {
    num_generations = 2;
    beta = 0.05;
    kl_in = KlPlace::reward;
    kl_estimator = KlEstimator::k1;
  }

  bool normalize_advantages = false;
  std::optional<std::vector<double>> reward_clip_range = {};
};
template <class Config, class Visitor>
requires Describes<Config, RlooConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit_group_fields(c, visit);
  visit("normalize_advantages", c.normalize_advantages,
        "over their mean and standard deviation in the batch");
  visit("reward_clip_range", c.reward_clip_range,
        "[least, largest] score, before KL is subtracted (null: as they are)");
}

// What a recipe says about an RLOO run.
struct RlooSetup : PolicySetup {
  RlooSetup() { rollout.temperature = 1.0; }  // TRL's for RLOO; 0.7 is its PPO's

  RlooConfig rloo = {};
};

}  // namespace leash
