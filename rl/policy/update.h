// Step 4 of an iteration over sampled answers: epochs of shuffled minibatches over one Experience.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "rl/distributed/communicator.h"
#include "rl/policy/losses.h"
#include "rl/policy/minibatches.h"
#include "rl/policy/optimizers.h"
#include "rl/policy/roles.h"
#include "rl/statistics/metrics.h"
#include "rollout/experience.h"

namespace leash {

// The critic's loss, where a task has one.
struct ValueRules {
  std::optional<double> cliprange = 0.2;
  double coef = 0.1;
};

// All that an update depends on besides the answers: what differs between the tasks is a value.
struct UpdateRules {
  MinibatchPlan minibatches = {};
  int64_t num_epochs = 1;
  int64_t micro_batch_tokens = 512;
  int64_t longest_answer = 1;  // tokens that an answer may have
  uint64_t seed = 0;
  double temperature = 1.0;
  bool recompute_blocks = false;  // model.gradient_checkpointing
  double max_grad_norm = 1.0;
  std::optional<double> target_kl = {};  // ends an update early
  double top_entropy_quantile = 1.0;
  SurrogateRules surrogate = {};
  std::optional<ValueRules> value = {};
  bool policy_stands_still = false;  // the critic's warm-up: its loss alone
};

// What every task's rules say alike.
UpdateRules update_rules(const PolicySetup& setup, const PolicyConfig& config);

// Sums over the counted answer tokens of one optimizer step (or several).
struct UpdateSums {
  double tokens = 0;
  double policy_loss = 0;  // already divided, see Aggregation
  double value_loss = 0;   // likewise
  double clipped_low = 0, clipped_high = 0, value_clipped = 0, approx_kl = 0, entropy = 0,
         ratio = 0, ratio_squares = 0, kl = 0;
  double gap_max = 0, gap_sum = 0;  // |training-time - sampling-time log-prob|, nats
  int64_t num_steps = 0;
  double policy_grad_norm = 0, critic_grad_norm = 0;

  void add(const UpdateSums& other);
};

// Gradients of one minibatch in micro-batches, as .grad of the policy's and the critic's parameters
// (which have none before). Each rank computes those of its share of the rows, by their lengths;
// the losses are divided by what all rows give, so that sums and gradients, added up over the
// ranks, are those of the whole minibatch on every rank.
// States of a critic with a frozen trunk that are missing are computed and kept in `experience`.
UpdateSums accumulate_gradients(Experience& experience, const std::vector<int64_t>& rows,
                                const UpdateRules& rules, const PolicyRoles& roles,
                                Communicator& communicator);

// Who takes part in an update.
struct UpdateActors {
  const PolicyRoles& roles;
  PolicyOptimizers& optimizers;
  Communicator& communicator;
};

// All epochs of iteration `step`, or those until one passes target_kl (then policy/num_epochs is
// among the metrics). Throws NonFinite.
Metrics update(Experience& experience, int64_t step, const LearningRates& rates,
               const UpdateRules& rules, const UpdateActors& actors);

}  // namespace leash
