// The launcher of the kernel of rotary embeddings. Pointers are of the device that is current.
#pragma once

#include <cstdint>

namespace leash::cuda {

// Rows of heads: x[row * row_stride + head * size + i], cosines and sines [positions, half].
struct RotatedRows {
  int64_t rows, heads, size, row_stride, half;
  const int64_t* positions;  // [rows]
  const float* cosines;
  const float* sines;
  float sign;
};

// y [rows, heads, size] is contiguous. `stream` is a cudaStream_t.
void launch_rotate(const RotatedRows& rows, const float* x, float* y, void* stream);
// The same for bfloat16, as its bits.
void launch_rotate_bfloat16(const RotatedRows& rows, const void* x, void* y, void* stream);

}  // namespace leash::cuda
