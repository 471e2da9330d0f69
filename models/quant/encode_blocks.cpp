#include "models/quant/encode_blocks.h"

#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "models/quant/block_formats.h"

namespace leash {
namespace {

constexpr int64_t kBlockValues = 32;
constexpr float kLargestCode = 127.0F;

// One block: a scale in fp16, then 32 codes.
void encode_q8_0(const float* values, char* out) {
  float largest = 0;
  for (int64_t i = 0; i < kBlockValues; ++i) largest = std::max(largest, std::abs(values[i]));
  const float scale = largest / kLargestCode;
  const float inverse = scale == 0 ? 0.0F : 1.0F / scale;
  const c10::Half stored(scale);
  std::memcpy(out, &stored, sizeof(stored));
  for (int64_t i = 0; i < kBlockValues; ++i) {
    out[sizeof(stored) + static_cast<size_t>(i)] =
        static_cast<char>(static_cast<int8_t>(std::round(values[i] * inverse)));
  }
}

at::Tensor bytes_of(const at::Tensor& values) {
  return values.contiguous().view(at::kByte).reshape({-1});
}

}  // namespace

at::Tensor encode_blocks(const at::Tensor& values, BlockType type) {
  TORCH_CHECK(values.scalar_type() == at::kFloat && values.dim() > 0, "fp32 values are encoded");
  const at::Tensor plain = values.detach().contiguous();
  switch (type) {
    case BlockType::f32:
      return bytes_of(plain);
    case BlockType::f16:
      return bytes_of(plain.to(at::kHalf));
    case BlockType::bf16:
      return bytes_of(plain.to(at::kBFloat16));
    case BlockType::q8_0:
      break;
    default:
      TORCH_CHECK(false, block_format(type).name, " is not written");
  }
  TORCH_CHECK(plain.size(-1) % kBlockValues == 0, "rows of q8_0 are whole blocks");
  const int64_t blocks = plain.numel() / kBlockValues;
  const int64_t block_size = block_format(type).bytes;
  at::Tensor bytes = at::empty({blocks * block_size}, at::kByte);
  const float* from = plain.const_data_ptr<float>();
  auto* to = static_cast<char*>(bytes.mutable_data_ptr());
#pragma omp parallel for
  for (int64_t i = 0; i < blocks; ++i) encode_q8_0(from + i * kBlockValues, to + i * block_size);
  return bytes;
}

}  // namespace leash
