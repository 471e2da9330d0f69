// The loss of supervised training over the vocabulary, fused: each chunk of rows computes its
// logits once and turns them into their gradient at once. See Decoder::cross_entropy.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "models/lora/adapter_rows.h"
#include "models/vocabulary/vocabulary_head.h"

namespace leash {

struct CrossEntropy {
  at::Tensor loss;      // scalar, fp64; differentiable in `hidden` and the adapter
  double nll = 0;       // Σ -log p[target], nats
  int64_t correct = 0;  // rows where no token is likelier than the target
};

CrossEntropy vocabulary_cross_entropy(const at::Tensor& hidden, const VocabularyHead& head,
                                      const at::Tensor& targets, double label_smoothing,
                                      double normalizer, const AdapterRows& adapters);

}  // namespace leash
