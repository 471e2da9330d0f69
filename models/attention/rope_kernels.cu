// A thread per entry: neighbours read and write side by side.
#include <cuda_bf16.h>

#include "models/attention/rope_kernels.h"
#include "models/attention/rope_rotation.h"

namespace leash::cuda {
namespace {

constexpr int kThreads = 256;

template <class Number>
__global__ void rotate(RotatedRows r, const Number* x, Number* y) {
  const int64_t place = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (place >= r.rows * r.heads * r.size) return;
  const int64_t i = place % r.size, head = place / r.size % r.heads,
                row = place / (r.size * r.heads);
  const int64_t angles = r.positions[row] * r.half;
  y[place] =
      static_cast<Number>(rotated_entry(x + row * r.row_stride + head * r.size, r.cosines + angles,
                                        r.sines + angles, r.sign, r.half, i));
}

template <class Number>
void launch(const RotatedRows& rows, const Number* x, Number* y, void* stream) {
  const int64_t count = rows.rows * rows.heads * rows.size;
  if (count == 0) return;
  const auto blocks = static_cast<unsigned>((count + kThreads - 1) / kThreads);
  rotate<Number><<<blocks, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(rows, x, y);
}

}  // namespace

void launch_rotate(const RotatedRows& rows, const float* x, float* y, void* stream) {
  launch(rows, x, y, stream);
}

void launch_rotate_bfloat16(const RotatedRows& rows, const void* x, void* y, void* stream) {
  launch(rows, static_cast<const __nv_bfloat16*>(x), static_cast<__nv_bfloat16*>(y), stream);
}

}  // namespace leash::cuda
