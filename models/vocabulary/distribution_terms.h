// What a loss may add per position besides log-probs, with exact gradients: the entropy of the
// whole distribution, and its KL from a reference.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "models/lora/adapter_rows.h"
#include "models/vocabulary/vocabulary_head.h"

namespace leash {

// The reference's states at the same positions, and what makes logits of them.
struct ReferenceRows {
  at::Tensor hidden;  // [rows, hidden], may be on another device
  VocabularyHead head;
  AdapterRows adapters = {};
};

// Nats per row of p = softmax(logits / temperature): the entropy H(p), and with a reference q
// KL(p ‖ q) = Σ p (log p - log q). Differentiable in `hidden` and in what adapters train of the
// head; q is constant. [1 or 2, rows], fp32 (fp64 for float64 states). Computed in chunks of rows,
// whose logits the backward pass computes again: a [rows, vocab] tensor is never kept.
at::Tensor distribution_terms(const at::Tensor& hidden /* [rows, hidden] */,
                              const VocabularyHead& head, const AdapterRows& adapters,
                              const std::optional<ReferenceRows>& reference, double temperature);

}  // namespace leash
