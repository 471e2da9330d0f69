// What a layer's attention does beyond softmax(q kᵀ / sqrt(head_dim)) v.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace leash {

struct AttentionRule {
  double scale = 0.0;    // of q kᵀ; 0: 1 / sqrt(head_dim)
  int64_t window = 0;    // a row sees itself and window - 1 rows before it; 0: all before it
  double softcap = 0.0;  // cap · tanh(scaled score / cap), before the mask (Gemma 2); 0: none
  // ALiBi (Press et al. 2021, arXiv:2108.12409): slope · (place of the key - place of the query) is
  // added to a scaled score. [heads] fp32; undefined: nothing is added.
  at::Tensor slopes;

  bool plain() const { return scale == 0.0 && window == 0 && softcap == 0.0 && !slopes.defined(); }
};

}  // namespace leash
