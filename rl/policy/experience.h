// Steps 1 and 2 of an iteration: whose prompts are whose; what the roles say about them as tensors,
// the penalty for answers without an end included.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "rl/data/prompts.h"
#include "rl/distributed/communicator.h"
#include "rl/policy/config.h"
#include "rl/policy/judging.h"
#include "rl/policy/kl.h"
#include "rl/reward/scale.h"
#include "rl/statistics/metrics.h"
#include "rollout/experience.h"

namespace leash {

// This rank's part of the prompts, by expected length: a pure function of what all ranks know.
// Those of a group stay together where there is a group for each rank.
std::vector<Prompt> own_prompts(const std::vector<Prompt>& prompts, int64_t response_length,
                                const Communicator& communicator, int64_t group_size = 1);

// The whole batch on every rank, in the order of its rows, from each rank's part of it.
std::vector<JudgedAnswer> gather(Communicator& communicator, const std::vector<JudgedAnswer>& own);

// With a source that normalises: its moments take in the batch (all of it, in the order of its
// rows, on every rank), and the answers' scores become running_totals (rl/reward/scale.h).
void normalize_scores(const std::vector<RewardConfig>& configs, std::vector<JudgedAnswer>& judged,
                      std::vector<RunningMoments>& moments);

// All rows as [batch, time] tensors; scores include the penalty.
// `missing_eos_penalty` is taken from the score of an answer that did not end by itself. Without a
// critic the values are 0.
Experience assemble(std::vector<JudgedAnswer> judged, std::optional<double> missing_eos_penalty);

// KL of each token from the reference under this estimator; 0 where nobody asked the reference.
// [batch, time]
at::Tensor token_kl(const Experience& experience, KlEstimator estimator);

// What the answers tell about the policy, under TRL's names; nothing of KL where the reference was
// not asked.
Metrics answer_metrics(const Experience& experience, double kl_coef);

// With importance_sampling_correction the weights of what sampling and training differ by, and how
// large the ratios' weights are: of tokens or of answers, as the mode says.
Metrics correct(Experience& experience, const PolicyConfig& config);

// rewards/<label>/mean and /std (n - 1) of each source, /corr_length with the answers' tokens and
// /corr/<other> with each source behind it (Pearson's; left out where one of both is the same for
// all answers).
Metrics source_metrics(const Experience& experience, const std::vector<std::string>& labels);

// The same as answer_metrics, and what they tell about the critic.
Metrics experience_metrics(const Experience& experience, double kl_coef);

}  // namespace leash
