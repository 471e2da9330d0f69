// Steps 1 to 4 of a PPO iteration: answers, what every role says about them, rewards and
// advantages.
#pragma once

#include <vector>

#include "rl/data/prompts.h"
#include "rl/metrics.h"
#include "rl/ppo_roles.h"
#include "rollout/experience.h"

namespace leash {

// The judgements: reference log-probs, critic values and scores of sampled answers, each on its
// role's lane.
void judge(Experience& experience, const std::vector<PromptRecord>& prompts,
           const std::vector<int64_t>& rows, const PpoSetup& setup, const PpoRoles& roles,
           Lanes& lanes);

// Rewards, advantages and returns from the judgements; pure but for filling `experience`.
void shape(Experience& experience, const PpoConfig& config, double kl_coef);

// What the answers tell about the policy, under TRL's names.
Metrics experience_metrics(const Experience& experience, double kl_coef);

// The answer as a reward source sees it.
std::vector<RewardSample> reward_samples(const std::vector<Completion>& answers,
                                         const std::vector<std::string>& prompts);

}  // namespace leash
