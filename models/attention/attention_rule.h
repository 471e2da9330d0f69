// What a layer's attention does beyond softmax(q kᵀ / sqrt(head_dim)) v.
#pragma once

#include <ATen/core/Tensor.h>

#include <cmath>
#include <cstdint>
#include <optional>

namespace leash {

// Places count from the first row that a text begins with, be it in a sequence of its own or in one
// that others continue (PackedTokens::prefixes), so they differ as positions do.
struct AttentionRule {
  double scale = 0.0;    // of q kᵀ; 0: 1 / sqrt(head_dim)
  int64_t window = 0;    // a row sees itself and window - 1 rows before it; 0: all before it
  double softcap = 0.0;  // cap · tanh(scaled score / cap), before bias and mask (Gemma 2); 0: none
  // ALiBi (Press et al. 2021, arXiv:2108.12409): slope · (place of the key - place of the query) is
  // added to a scaled score. [heads] fp32 on the queries' device; undefined: nothing is added.
  at::Tensor slopes;
  // Falcon's ALiBi: scale · slope · place of the key is added instead, where slope, place and their
  // product are rounded to bfloat16 whatever the type of the model.
  bool bfloat16_bias = false;

  // What LibTorch's and the plain kernels take: nothing but a scale.
  bool only_scaled() const { return window == 0 && softcap == 0.0 && !slopes.defined(); }
  bool plain() const { return only_scaled() && scale == 0.0; }
  // Of LibTorch's operators.
  std::optional<double> given_scale() const {
    return scale == 0.0 ? std::nullopt : std::optional(scale);
  }
  double scale_for(int64_t head_dim) const {
    return scale != 0.0 ? scale : 1.0 / std::sqrt(static_cast<double>(head_dim));
  }
  // The same for rows that see `longest` keys at most: a window that wide is none.
  AttentionRule within(int64_t longest) const {
    AttentionRule rule = *this;
    if (rule.window >= longest) rule.window = 0;
    return rule;
  }
};

}  // namespace leash
