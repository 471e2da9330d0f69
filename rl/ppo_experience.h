// Steps 1 to 4 of a PPO iteration: answers, what every role says about them, rewards and
// advantages.
#pragma once

#include <vector>

#include "rl/data/prompts.h"
#include "rl/distributed/communicator.h"
#include "rl/metrics.h"
#include "rl/ppo_roles.h"
#include "rollout/experience.h"

namespace leash {

// This rank's part of the prompts, by expected length: a pure function of what all ranks know.
std::vector<Prompt> own_prompts(const std::vector<Prompt>& prompts, int64_t response_length,
                                const Communicator& communicator);

// An answer and what every role says about it.
struct JudgedAnswer {
  Completion answer;                       // its sample is its row in the iteration's batch
  std::vector<double> reference_logprobs;  // nats, per token
  std::vector<double> values;              // of the state before each token
  double score = 0;                        // from the reward sources
};

// Reference log-probs, critic values and scores of sampled answers, each on its role's lane.
// `rows`: the prompt of each row of the batch.
std::vector<JudgedAnswer> judge(std::vector<Completion> answers,
                                const std::vector<PromptRecord>& prompts,
                                const std::vector<int64_t>& rows, const PpoSetup& setup,
                                const PpoRoles& roles, Lanes& lanes);

// The whole batch on every rank, in the order of its rows, from each rank's part of it.
std::vector<JudgedAnswer> gather(Communicator& communicator, const std::vector<JudgedAnswer>& own);

// All rows as [batch, time] tensors; scores include the penalty for answers without an end.
Experience assemble(std::vector<JudgedAnswer> judged, const PpoConfig& config);

// Rewards, advantages and returns from the judgements; pure but for filling `experience`.
void shape(Experience& experience, const PpoConfig& config, double kl_coef);

// What the answers tell about the policy, under TRL's names.
Metrics experience_metrics(const Experience& experience, double kl_coef);

// The answer as a reward source sees it.
std::vector<RewardSample> reward_samples(const std::vector<Completion>& answers,
                                         const std::vector<std::string>& prompts);

}  // namespace leash
