// The arithmetic of a step of DPO: log-probs of pairs under policy and reference, gradients of one
// batch in micro-batches, and the same numbers of held-out pairs.
#pragma once

#include <cstdint>
#include <vector>

#include "rl/distributed/communicator.h"
#include "rl/dpo/config.h"
#include "rl/dpo/judged_pairs.h"
#include "rl/preference/policy.h"
#include "rl/statistics/metrics.h"

namespace leash {

DpoLossOptions loss_options(const DpoConfig& config);

// Sums over pairs. What tells the two answers apart is summed over pairs that are no ties.
struct DpoSums {
  double loss = 0;  // already divided
  int64_t pairs = 0;
  int64_t decided = 0;       // no ties
  int64_t correct = 0;       // of these: pairs with the higher reward for the chosen answer
  double chosen_reward = 0;  // β (log π - log π_ref)
  double rejected_reward = 0;
  double chosen_logprob = 0;
  double rejected_logprob = 0;
  double entropy = 0;         // over all tokens of the answers
  int64_t answer_tokens = 0;  // that something predicts
  int64_t tokens = 0;         // of all sequences
  int64_t rows = 0;           // of the policy's passes

  void add(const DpoSums& other);
};

// Gradients of one optimizer step's pairs in micro-batches, as .grad of the adapter's parameters
// (which have none before). The ranks split the pairs by length; the loss is the mean over all of
// them. Dropout (without disable_dropout) is keyed by (seed, step, pair and part); the reference
// never has any. Gradients are those of `loss_scale` times the loss; the sums are without it.
DpoSums accumulate_gradients(JudgedPairs pairs, int64_t step, const DpoSetup& setup,
                             const PolicyBesideReference& policy, Communicator& communicator,
                             double loss_scale = 1.0);

// Under TRL's names: rewards/chosen, rewards/rejected, rewards/accuracies, rewards/margins,
// logps/chosen, logps/rejected, entropy.
Metrics dpo_metrics(const DpoSums& sums);

// A pair as policy and reference see it. Log-probs are nats, weighted by ld_alpha.
struct ComparedPair {
  int64_t prompt = 0;  // pairs of one prompt have the same number
  double chosen = 0, rejected = 0;
  double reference_chosen = 0, reference_rejected = 0;
  double chosen_plain = 0;                         // without weights
  int64_t chosen_tokens = 0, rejected_tokens = 0;  // of the answers
  int64_t chosen_scored = 0, rejected_scored = 0;  // of them: that something predicts
  double kl = 0;  // nats: Σ exact KL(policy ‖ reference) over the positions of both answers

  bool operator==(const ComparedPair&) const = default;
};

// No dropout, no gradients; split likewise, and every rank gets all.
std::vector<ComparedPair> compare_pairs(JudgedPairs pairs, const DpoConfig& config,
                                        const PolicyBesideReference& policy,
                                        Communicator& communicator);

// The reference's log-probs: chosen and rejected of each pair in turn, likewise.
std::vector<double> reference_logprobs(JudgedPairs pairs, const DpoConfig& config,
                                       const PolicyBesideReference& policy,
                                       Communicator& communicator);

}  // namespace leash
