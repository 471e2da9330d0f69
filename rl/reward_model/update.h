// The arithmetic of a step of reward training: scores of pairs, gradients of one batch in
// micro-batches, and the scores of held-out pairs.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "models/decoder/decoder.h"
#include "rl/data/preferences.h"
#include "rl/distributed/communicator.h"
#include "rl/reward_model/config.h"
#include "rl/statistics/metrics.h"
#include "rl/training/parts.h"

namespace leash {

// The base of model.path, and the adapter with its score head. FormatError, ConfigError.
// With `gathers`, the frozen base is sharded between the ranks.
TrainedModel load_reward_model(const RewardSetup& setup,
                               const std::shared_ptr<GatherQueue>& gathers = nullptr);

using PairRefs = std::span<const PreferencePair* const>;
std::vector<const PreferencePair*> pair_refs(const std::vector<PreferencePair>& pairs);

// Pairs packed end to end: the prefix that a pair's sequences share stands there once and both
// continue it, so that it goes through the model once.
struct PackedPairs {
  PackedTokens tokens;
  at::Tensor chosen_rows;    // [pairs] the row of each chosen sequence's last token
  at::Tensor rejected_rows;  // [pairs]
};
PackedPairs pack_pairs(PairRefs pairs);

// Scores at the last tokens, differentiable in the adapter.
struct PairScores {
  at::Tensor chosen;    // [pairs]
  at::Tensor rejected;  // [pairs]
};
PairScores score_pairs(const PackedPairs& pairs, const Decoder& decoder, const Adapter& adapter,
                       const ForwardOptions& options = {});

// Sums over pairs.
struct RewardSums {
  double loss = 0;  // already divided by the pairs of the whole batch
  int64_t pairs = 0;
  int64_t ties = 0;     // of these: neither answer is preferred
  int64_t correct = 0;  // pairs whose chosen answer has the higher score, ties left out
  double margin = 0;    // Σ c - r, likewise
  double reward = 0;    // Σ c + r
  double min_reward = std::numeric_limits<double>::infinity();
  double max_reward = -std::numeric_limits<double>::infinity();
  int64_t tokens = 0;  // of all sequences
  int64_t rows = 0;    // tokens that went through the decoder

  void add(const RewardSums& other);
};

// Gradients of one optimizer step's pairs in micro-batches, as .grad of the adapter's parameters
// (which have none before). The ranks split the pairs by length; the loss is the mean over all of
// them. Dropout (without disable_dropout) is keyed by (seed, step, pair and part). Gradients are
// those of `loss_scale` times the loss, which float16 needs (rl/optim/grad_scaler.h); the sums are
// without it.
RewardSums accumulate_gradients(PairRefs pairs, int64_t step, const RewardSetup& setup,
                                const AdaptedDecoder& model, Communicator& communicator,
                                double loss_scale = 1.0);

// accuracy, margin, min_reward, mean_reward and max_reward under TRL's names.
Metrics reward_metrics(const RewardSums& sums);

// One pair as the model sees it.
struct ScoredPair {
  int64_t prompt = 0;  // pairs of one prompt have the same number
  double chosen = 0;
  double rejected = 0;
  double margin = 0;          // of the data
  int64_t chosen_length = 0;  // tokens, from where the two differ
  int64_t rejected_length = 0;

  bool operator==(const ScoredPair&) const = default;
};

// No dropout, no gradients; split likewise, and every rank gets all scores.
std::vector<ScoredPair> held_out_scores(PairRefs pairs, int64_t micro_batch_tokens,
                                        const AdaptedDecoder& model, Communicator& communicator);

}  // namespace leash
