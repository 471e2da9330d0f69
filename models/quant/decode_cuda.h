// Decoding compressed weights on a GPU; in builds with CUDA. See device_decoding.h.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "models/quant/block_formats.h"
#include "models/quant/nf4.h"

namespace leash::cuda {

void decode_blocks(BlockType type, const at::Tensor& bytes, const at::Tensor& out);
void decode_nf4(const Nf4Matrix& matrix, int64_t begin, const at::Tensor& out);

}  // namespace leash::cuda
