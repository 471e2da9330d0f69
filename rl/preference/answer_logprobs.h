// Log-probs of whole answers under a policy and its reference, from packed batches.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "models/decoder/decoder.h"
#include "models/decoder/packed_texts.h"
#include "rl/reference/reference.h"

namespace leash {

// Some answers in one packed batch.
struct JudgedBatch {
  PackedAnswers answers;
  std::vector<int64_t> lengths;  // tokens of each answer
  at::Tensor weights;            // [answer tokens] fp64, what a log-prob counts; undefined: 1

  const PackedTokens& tokens() const { return answers.contexts.tokens; }
  int64_t num_rows() const { return tokens().ids.size(0); }
};

// `full_tokens` of each text's answer count whole, those behind them `tail` (Liu et al. 2024,
// LD-DPO, arXiv:2409.06411, eq. 8); without it all count whole. Groups as pack_answers wants them.
struct LengthWeights {
  double tail = 1.0;
  std::vector<int64_t> full_tokens;  // by text
};
JudgedBatch pack_judged(std::span<const AnswerText> texts, std::span<const TextGroup> groups,
                        const std::optional<LengthWeights>& weights = std::nullopt);
// Neighbours share their prompt, or all what they begin with (pack_by_prompt).
JudgedBatch pack_judged(std::span<const AnswerText> texts);
// Each text by itself.
JudgedBatch pack_alone(std::span<const AnswerText> texts);

// Sums over the tokens of each answer, fp64 [texts], nats, on the decoder's device.
struct AnswerSums {
  at::Tensor logprobs;   // weighted; differentiable in the adapter
  at::Tensor plain;      // without weights, likewise
  at::Tensor entropies;  // of the distributions that the tokens were taken from
};
AnswerSums answer_sums(const JudgedBatch& batch, const Decoder& decoder, const Adapter* adapter,
                       const ForwardOptions& options = {});

// The reference's weighted sums, without gradients. fp64 [texts]
at::Tensor reference_sums(const JudgedBatch& batch, const Reference& reference);

// Both and the exact KL(policy ‖ reference), summed over the positions of each answer, without
// gradients. Where the reference is the policy's own base, one pass over it serves both.
struct ComparedSums {
  AnswerSums policy;
  at::Tensor reference;  // fp64 [texts], weighted
  at::Tensor kl;         // fp64 [texts], nats; undefined without `with_kl`
};
ComparedSums compared_sums(const JudgedBatch& batch, const Decoder& decoder, const Adapter& adapter,
                           const Reference& reference, bool with_kl = true);

// Numbers on the host.
std::vector<double> host_doubles(const at::Tensor& numbers);

}  // namespace leash
