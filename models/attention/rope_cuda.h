// Rotary embeddings on a GPU, as tensors; in builds with CUDA.
#pragma once

#include "models/attention/rope.h"

namespace leash::cuda {

// Rotates fp32 or bf16 x [tokens, heads, head_dim] whose heads lie one after another in a row;
// `sign` -1 rotates back. Returns a contiguous tensor of x's type, without autograd.
at::Tensor rotate(const at::Tensor& x, const at::Tensor& positions, const RopeTable& table,
                  float sign);

}  // namespace leash::cuda
