// A judge that follows a stated rule, in the place of a person.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/label/session.h"
#include "rl/reward/config.h"

namespace leash::label {

struct RuleJudge {
  std::vector<RewardConfig> rule;  // functions of the answer's text; their weighted sum decides
  double noise = 0;                // part of the preferences that come out the wrong way round
  uint64_t seed = 0;               // of the noise
};

// ConfigError where the rule is empty, or needs more than the text of an answer.
void check_rule(const RuleJudge& judge);

// Judges all that is offered to `user`: the answer with more points, or a tie.
void judge_by_rule(LabelSession& session, const std::string& user, const RuleJudge& judge);

}  // namespace leash::label
