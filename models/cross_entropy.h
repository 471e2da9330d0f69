// The loss of supervised training over the vocabulary, fused: each chunk of rows computes its
// logits once and turns them into their gradient at once. See Decoder::cross_entropy.
#pragma once

#include <ATen/core/Tensor.h>

#include "models/adapted_linear.h"
#include "models/decoder.h"

namespace leash {

Decoder::CrossEntropy vocabulary_cross_entropy(const at::Tensor& hidden, const LinearGroup& head,
                                               const at::Tensor& targets, double label_smoothing,
                                               double normalizer, const AdapterRows& adapters);

}  // namespace leash
