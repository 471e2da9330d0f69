// Values in a GGUF tensor's type: what dequantize_blocks reads, written.
#pragma once

#include <ATen/core/Tensor.h>

#include "models/weights/block_type.h"

namespace leash {

// fp32 values [rows, columns] (or [columns]) as the bytes of f32, f16, bf16 (rounded to nearest
// even) or q8_0 blocks, which are ggml's reference's bit for bit (quantize_row_q8_0_ref: a scale in
// fp16 for 32 values, codes rounded away from zero). uint8, contiguous. Rows of q8_0 are whole
// blocks.
at::Tensor encode_blocks(const at::Tensor& values, BlockType type);

}  // namespace leash
