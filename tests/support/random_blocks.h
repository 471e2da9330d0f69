// Weights in GGUF blocks with random contents.
#pragma once

#include <c10/util/Half.h>

#include <cstring>
#include <vector>

#include "models/quant/block_formats.h"
#include "models/random/random.h"
#include "models/weights/tensor_source.h"

namespace leash::testing {

inline at::Tensor normal(std::vector<int64_t> shape, uint64_t seed) {
  return normal_tensor(DrawKey{seed, Purpose::noise}, shape, 0, 1);
}

// Where a block's half-precision scales stand.
inline std::vector<int64_t> scale_offsets(BlockType type) {
  switch (type) {
    case BlockType::q4_0:
    case BlockType::q5_0:
    case BlockType::q8_0:
    case BlockType::f16:
      return {0};
    case BlockType::q6_k:
      return {208};
    case BlockType::f32:
    case BlockType::bf16:
      return {};
    default:
      return {0, 2};
  }
}

// Random blocks whose values are of ordinary size.
inline BlockMatrix random_blocks(BlockType type, int64_t rows, int64_t columns, uint64_t seed) {
  const BlockFormat& format = block_format(type);
  BlockMatrix matrix{.type = type, .columns = columns};
  if (type == BlockType::f32 || type == BlockType::bf16) {
    const at::Tensor values =
        normal({rows, columns}, seed).to(type == BlockType::f32 ? at::kFloat : at::kBFloat16);
    matrix.bytes = values.view(at::kByte);
    return matrix;
  }
  const int64_t blocks = rows * columns / format.values;
  at::Tensor bytes = uniform_tensor(DrawKey{seed, Purpose::noise}, {blocks, format.bytes}, 0, 256)
                         .to(at::kByte)
                         .contiguous();
  const at::Tensor scales =
      uniform_tensor(DrawKey{seed + 1, Purpose::noise}, {blocks}, -0.02, 0.02);
  auto* data = bytes.mutable_data_ptr<uint8_t>();
  for (int64_t i = 0; i < blocks; ++i) {
    for (const int64_t offset : scale_offsets(type)) {
      const c10::Half scale(scales.const_data_ptr<float>()[i]);
      std::memcpy(data + i * format.bytes + offset, &scale, sizeof scale);
    }
  }
  matrix.bytes = bytes.view({rows, columns / format.values * format.bytes});
  return matrix;
}

}  // namespace leash::testing
