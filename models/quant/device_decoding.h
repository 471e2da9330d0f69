// Compressed weights into fp32 where they are, on a device that is not the CPU: our kernels on a
// GPU (their arithmetic stands in block_values.h and nf4_values.h), LibTorch's operators elsewhere.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "models/quant/block_formats.h"
#include "models/quant/nf4.h"

namespace leash {

// bytes: uint8 [rows, bytes of a row] of whole blocks; out: fp32 [rows, columns], contiguous. Other
// devices than a GPU decode on the host.
void decode_blocks_on_device(BlockType type, const at::Tensor& bytes, const at::Tensor& out);

// Values [begin, begin + out.numel()) of a matrix whose tensors are on out's device.
void decode_nf4_on_device(const Nf4Matrix& matrix, int64_t begin, const at::Tensor& out);

// The plain version, for tests and devices without kernels.
void decode_nf4_plain(const Nf4Matrix& matrix, int64_t begin, const at::Tensor& out);

}  // namespace leash
