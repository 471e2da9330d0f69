// Steps 1 and 3 of a PPO iteration: whose prompts are whose; rewards and advantages from what the
// roles say.
#pragma once

#include <vector>

#include "rl/data/prompts.h"
#include "rl/distributed/communicator.h"
#include "rl/judging.h"
#include "rl/metrics.h"
#include "rollout/experience.h"

namespace leash {

// This rank's part of the prompts, by expected length: a pure function of what all ranks know.
std::vector<Prompt> own_prompts(const std::vector<Prompt>& prompts, int64_t response_length,
                                const Communicator& communicator);

// The whole batch on every rank, in the order of its rows, from each rank's part of it.
std::vector<JudgedAnswer> gather(Communicator& communicator, const std::vector<JudgedAnswer>& own);

// All rows as [batch, time] tensors; scores include the penalty for answers without an end.
Experience assemble(std::vector<JudgedAnswer> judged, const PpoConfig& config);

// Rewards, advantages and returns from the judgements; pure but for filling `experience`.
void shape(Experience& experience, const PpoConfig& config, double kl_coef);

// What the answers tell about the policy, under TRL's names.
Metrics experience_metrics(const Experience& experience, double kl_coef);

}  // namespace leash
