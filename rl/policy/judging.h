// What every other role says about the policy's answers.
#pragma once

#include <memory>
#include <vector>

#include "rl/data/prompts.h"
#include "rl/policy/roles.h"
#include "rollout/engine.h"

namespace leash {

// Whether the log-probs of a policy with weights of this type are computed again after sampling,
// see PolicyConfig::recompute_logprobs; a correction for what the two differ by needs both.
bool recomputes_logprobs(const PolicyConfig& config, const DecoderConfig& model,
                         at::ScalarType weights, at::Device device);

// An answer and what every role says about it.
struct JudgedAnswer {
  Completion answer;                       // its sample is its row in the iteration's batch
  std::vector<double> policy_logprobs;     // nats, per token, computed again; empty: the sampler's
  std::vector<double> reference_logprobs;  // nats, per token; empty: not asked
  std::vector<double> exact_kl{};          // nats, per token, over the vocabulary; likewise
  std::vector<double> values;              // of the state before each token; empty: no critic
  int64_t prompt = -1;                     // its index in the training file, where that is known
  double score = 0;                        // from the reward sources
  std::vector<double> parts{};             // of each of them, as it said
  at::Tensor
      critic_states{};  // [tokens, hidden] before each token, of a critic with a frozen trunk
};

struct JudgingOptions {
  bool reference = true;   // its log-probs; without them (and exact KL) KL is unknown
  bool exact_kl = false;   // KL from the reference over the whole vocabulary
  bool by_prompt = false;  // answers to one prompt stand together, and share it in every pass
  int64_t step = 0;        // of the run, for the sources of reward
};

// Reference log-probs, critic values and scores, each on its role's lane. With
// `lanes.scoring_group` answers are judged that many at a time, beginning while others are still
// being sampled. Which answers form a group follows from the order in which they are added, which
// the engine makes a pure function of configuration, seed and lengths; clocks have no part in it.
class Judging {
 public:
  // `rows`: the prompt of each row of the batch. All arguments have to outlive this.
  Judging(const std::vector<PromptRecord>& prompts, const std::vector<int64_t>& rows,
          const PolicySetup& setup, const PolicyConfig& config, const PolicyRoles& roles,
          Lanes& lanes, const JudgingOptions& options = {});
  // Waits for what was begun.
  ~Judging();

  // Any thread, one at a time.
  void add(Completion answer);
  // All answers that were added, in the order of the batch's rows. Call once. Waits for every lane,
  // then rethrows a role's error.
  std::vector<JudgedAnswer> finish();

 private:
  class Group;

  void begin_group();

  const std::vector<PromptRecord>& prompts_;
  const std::vector<int64_t>& rows_;
  const PolicySetup& setup_;
  const PolicyConfig& config_;
  const PolicyRoles& roles_;
  Lanes& lanes_;
  JudgingOptions options_;
  std::vector<Completion> waiting_;
  std::vector<std::unique_ptr<Group>> groups_;  // lanes read from them
};

// All of it for answers that are there already.
std::vector<JudgedAnswer> judge(const std::vector<Completion>& answers,
                                const std::vector<PromptRecord>& prompts,
                                const std::vector<int64_t>& rows, const PolicySetup& setup,
                                const PolicyConfig& config, const PolicyRoles& roles, Lanes& lanes);

// Each answer, to the prompt in its place, as a reward source sees it; `step` as in RewardSample.
std::vector<RewardSample> reward_samples(const std::vector<Completion>& answers,
                                         const std::vector<const PromptRecord*>& prompts,
                                         int64_t step);

// Whether the policy chose to stop, and was not cut off.
bool ended_by_itself(const Completion& answer);

}  // namespace leash
