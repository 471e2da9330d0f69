// A thread per block of the stream, which has two draws.
#include "models/random/random_kernels.h"

namespace leash::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void uniforms(PhiloxStream draws, UniformInterval interval, int64_t count, float* out) {
  const int64_t block = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (2 * block >= count) return;
  double pair[2];
  draws.uniforms(static_cast<uint64_t>(block), pair);
  out[2 * block] = interval(pair[0]);
  if (2 * block + 1 < count) out[2 * block + 1] = interval(pair[1]);
}

}  // namespace

void launch_uniforms(const PhiloxStream& draws, const UniformInterval& interval, int64_t count,
                     float* out, void* stream) {
  if (count == 0) return;
  const int64_t per_launch = 2 * kThreads;
  const auto blocks = static_cast<unsigned>((count + per_launch - 1) / per_launch);
  uniforms<<<blocks, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(draws, interval, count, out);
}

}  // namespace leash::cuda
