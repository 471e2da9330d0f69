// A thread per value: neighbours read the same block and write side by side. The type is a template
// argument, so that no thread asks for it.
#include "models/quant/block_values.h"
#include "models/quant/decode_kernels.h"

namespace leash::cuda {
namespace {

constexpr int kThreads = 256;

unsigned blocks_for(int64_t count) {
  return static_cast<unsigned>((count + kThreads - 1) / kThreads);
}

template <BlockType kType>
__global__ void decode_blocks(const uint8_t* blocks, int64_t values, int64_t bytes, int64_t count,
                              float* out) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count) return;
  out[i] = block_value(kType, blocks + i / values * bytes, static_cast<int>(i % values));
}

__global__ void decode_nf4(Nf4Pointers matrix, int64_t begin, int64_t count, float* out) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < count) out[i] = nf4_value(matrix, begin + i);
}

template <BlockType kType>
void launch(const uint8_t* blocks, int64_t values, int64_t bytes, int64_t count, float* out,
            cudaStream_t stream) {
  decode_blocks<kType>
      <<<blocks_for(count), kThreads, 0, stream>>>(blocks, values, bytes, count, out);
}

}  // namespace

void launch_decode_blocks(BlockType type, const uint8_t* blocks, int64_t values, int64_t bytes,
                          int64_t count, float* out, void* stream) {
  if (count == 0) return;
  auto* s = static_cast<cudaStream_t>(stream);
  switch (type) {
#define LEASH_CASE(name) \
  case BlockType::name:  \
    return launch<BlockType::name>(blocks, values, bytes, count, out, s)
    LEASH_CASE(f32);
    LEASH_CASE(f16);
    LEASH_CASE(q4_0);
    LEASH_CASE(q4_1);
    LEASH_CASE(q5_0);
    LEASH_CASE(q5_1);
    LEASH_CASE(q8_0);
    LEASH_CASE(q4_k);
    LEASH_CASE(q5_k);
    LEASH_CASE(q6_k);
    LEASH_CASE(i8);
    LEASH_CASE(i16);
    LEASH_CASE(i32);
    LEASH_CASE(i64);
    LEASH_CASE(f64);
    LEASH_CASE(bf16);
#undef LEASH_CASE
  }
}

void launch_decode_nf4(const Nf4Pointers& matrix, int64_t begin, int64_t count, float* out,
                       void* stream) {
  if (count == 0) return;
  decode_nf4<<<blocks_for(count), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(matrix, begin,
                                                                                    count, out);
}

}  // namespace leash::cuda
