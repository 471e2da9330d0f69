// What one iteration knows about its answers. Rows are answers, columns answer tokens; a row's
// tokens start at column 0.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "rollout/engine.h"

namespace leash {

struct Experience {
  std::vector<Completion> answers;  // one per row
  std::vector<int64_t> prompts{};   // of each row, its index in the training file
  at::Tensor mask;       // [batch, time] bool, true on answer tokens (the ending one included)
  at::Tensor counted{};  // [batch, time] bool, those of them that the policy's loss counts
                         // (undefined: all)
  at::Tensor logprobs;   // [batch, time] nats, of the policy before the update
  at::Tensor sampled_logprobs;    // [batch, time] the same as the sampler computed them
  at::Tensor reference_logprobs;  // [batch, time] nats; undefined where nobody asked for them
  at::Tensor exact_kl{};          // [batch, time] nats, over the vocabulary; likewise
  at::Tensor corrections{};    // [batch, time] weights of the policy's loss for what sampling and
                               // training differ by (undefined: none)
  at::Tensor values;           // [batch, time] of the state before each token
  at::Tensor entropies;        // [batch, time] nats, of the policy when it sampled
  at::Tensor scores;           // [batch] from the reward sources, penalties included
  at::Tensor source_scores{};  // [batch, sources] of each source alone, as it said
  at::Tensor kl;               // [batch, time] per-token KL from the reference
  at::Tensor rewards;          // [batch, time]
  at::Tensor advantages;       // [batch, time]
  at::Tensor returns;          // [batch, time]
  // Per answer [tokens, hidden], what a critic with a frozen trunk reads of it; undefined where
  // this rank did not compute it yet. Empty for every other critic.
  std::vector<at::Tensor> critic_states{};

  int64_t batch() const { return static_cast<int64_t>(answers.size()); }
};

// Rows of different lengths as one tensor, zeros behind them. [rows, longest] fp32
at::Tensor pad_rows(const std::vector<std::vector<double>>& rows);
// True where a row has an entry. [rows, longest]
at::Tensor row_mask(const std::vector<int64_t>& lengths);

}  // namespace leash
