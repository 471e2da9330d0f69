// Step 4 of a PPO iteration: epochs of shuffled minibatches over one Experience.
#pragma once

#include <cstdint>

#include "rl/distributed/communicator.h"
#include "rl/policy/optimizers.h"
#include "rl/policy/roles.h"
#include "rl/ppo/setup.h"
#include "rl/statistics/metrics.h"
#include "rollout/experience.h"

namespace leash {

// Rows of one optimizer step: minibatch `index` of epoch `epoch` in iteration `step`, from a
// permutation that is a function of these alone.
std::vector<int64_t> minibatch_rows(const PpoConfig& config, uint64_t seed, int64_t step,
                                    int64_t epoch, int64_t index);

// Sums over the answer tokens of one optimizer step (or several).
struct UpdateSums {
  double tokens = 0;
  double policy_loss = 0;  // already divided by the minibatch's tokens
  double value_loss = 0;   // likewise
  double clipped = 0, value_clipped = 0, approx_kl = 0, entropy = 0, ratio = 0, ratio_squares = 0;
  double gap_max = 0, gap_sum = 0;  // |training-time - sampling-time log-prob|, nats
  int64_t num_steps = 0;
  double policy_grad_norm = 0, critic_grad_norm = 0;

  void add(const UpdateSums& other);
};

// Gradients of one minibatch in micro-batches, as .grad of the policy's and the critic's parameters
// (which have none before). Each rank computes those of its share of the rows, by their lengths;
// the losses are divided by the tokens of all rows, so that sums and gradients, added up over the
// ranks, are those of the whole minibatch on every rank.
// States of a critic with a frozen trunk that are missing are computed and kept in `experience`.
UpdateSums accumulate_gradients(Experience& experience, const std::vector<int64_t>& rows,
                                const PpoSetup& setup, const PolicyRoles& roles,
                                Communicator& communicator);

// Who takes part in an update.
struct UpdateParts {
  const PpoSetup& setup;
  const PolicyRoles& roles;
  PolicyOptimizers& optimizers;
  Communicator& communicator;
};

// All epochs of iteration `step`, or those until one passes ppo.target_kl (then policy/num_epochs
// is among the metrics). Throws NonFinite.
Metrics update(Experience& experience, int64_t step, const LearningRates& rates,
               const UpdateParts& parts);

}  // namespace leash
