// What shaping and the update are for every task without a critic.
#pragma once

#include "rl/policy/group_config.h"
#include "rl/policy/loop.h"

namespace leash {

// The task's description but for its losses and advantages.
PolicyTask group_task(const PolicySetup& setup, const GroupConfig& config, const char* section);

// Scores less what overlong answers lose, KL by token (0 where the reference was not asked), and
// which tokens the loss counts.
void prepare(Experience& experience, const PolicySetup& setup, const GroupConfig& config);

// Scores in float64, so that equal ones leave no difference to be scaled up; minus the KL of the
// whole answer where the reward pays for it. [batch]
at::Tensor answer_rewards(const Experience& experience, const at::Tensor& scores /* [batch] */,
                          const GroupConfig& config, double beta);

// One number per answer, for each of its tokens.
void spread_advantages(Experience& experience, const at::Tensor& advantages /* [batch] */);

}  // namespace leash
