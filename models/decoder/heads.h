// Small heads on the decoder's hidden states: the critic's value and a reward model's score.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "models/io/checkpoint.h"

namespace leash {

// hidden -> [rows, outputs], without a bias, as transformers' `score` of
// *ForSequenceClassification. Weights are fp32.
struct LinearHead {
  at::Tensor weight;  // [outputs, hidden]

  // Zero weights: a critic that starts with V = 0, a reward model that starts undecided.
  static LinearHead zeros(int64_t hidden_size, int64_t outputs = 1);
  // `score.weight` of a sequence-classification checkpoint; FormatError when it has none.
  static LinearHead load(const Checkpoint& checkpoint);

  LinearHead to(at::Device device) const;

  at::Tensor operator()(const at::Tensor& hidden /* [rows, hidden] */) const;  // [rows, outputs]
};

}  // namespace leash
