// What the projection onto the vocabulary is used for: log-probs of tokens, entropies and exact KL,
// computed in chunks of rows so that a [rows, vocab] tensor is never kept.
#pragma once

#include <ATen/core/Tensor.h>

#include "models/lora/adapter_rows.h"
#include "models/vocabulary/vocabulary_head.h"

namespace leash {

struct TokenScores {
  at::Tensor logprobs;   // [rows], nats, differentiable in `hidden` and the adapter
  at::Tensor entropies;  // [rows], nats, of the same distribution; not differentiable
};

// log_softmax(logits / temperature)[target] and the entropy of the same distribution, per row. The
// log-probs are differentiable in `hidden` and in what adapters train of the head; the backward
// pass computes each chunk's logits again.
TokenScores vocabulary_scores(const at::Tensor& hidden, const VocabularyHead& head,
                              const at::Tensor& targets, double temperature,
                              const AdapterRows& adapters);

// Σ p (log p - log q) per row, p and q from two sets of hidden states and heads.
at::Tensor vocabulary_kl(const at::Tensor& hidden, const VocabularyHead& head,
                         const AdapterRows& adapters, const at::Tensor& reference_hidden,
                         const VocabularyHead& reference_head,
                         const AdapterRows& reference_adapters, double temperature);

}  // namespace leash
