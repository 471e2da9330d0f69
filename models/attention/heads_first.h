// Heads before rows, as scaled_dot_product_attention takes them.
#pragma once

#include <ATen/core/Tensor.h>

namespace leash {

// [rows, heads, head_dim] -> [1, heads, rows, head_dim] and back to [rows, heads · head_dim].
inline at::Tensor heads_first(const at::Tensor& x) { return x.transpose(0, 1).unsqueeze(0); }
inline at::Tensor rows_first(const at::Tensor& x) {
  return x.squeeze(0).transpose(0, 1).flatten(1);
}

}  // namespace leash
