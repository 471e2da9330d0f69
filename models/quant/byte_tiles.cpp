#include "models/quant/byte_tiles.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <optional>

#include "models/errors.h"
#include "models/quant/block_formats.h"
#include "models/quant/block_values.h"

namespace leash {
namespace {

// 32 values with their scale and minimum.
struct CodedBlock {
  std::array<uint8_t, kByteBlock> codes{};
  float scale = 0;
  float minimum = 0;
};

struct CodeFormat {
  int bits;
  int offset;
  bool has_minima;
};

std::optional<CodeFormat> code_format(BlockType type) {
  switch (type) {
    case BlockType::q4_0:
      return CodeFormat{4, 8, false};
    case BlockType::q4_1:
    case BlockType::q4_k:
      return CodeFormat{4, 0, true};
    case BlockType::q5_0:
      return CodeFormat{8, 16, false};
    case BlockType::q5_1:
    case BlockType::q5_k:
      return CodeFormat{8, 0, true};
    case BlockType::q8_0:
      return CodeFormat{8, 128, false};
    default:
      return std::nullopt;
  }
}

template <class Code>
void fill(CodedBlock& block, const Code& code) {
  for (int i = 0; i < kByteBlock; ++i) {
    block.codes[static_cast<size_t>(i)] = static_cast<uint8_t>(code(i));
  }
}

// Block `b` of 32 values of a row. Types with a code_format only.
CodedBlock coded_block(BlockType type, const uint8_t* row, int64_t b) {
  namespace v = block_values;
  const BlockFormat& format = block_format(type);
  const int64_t per_block = format.values / kByteBlock;
  const uint8_t* bytes = row + b / per_block * format.bytes;
  const auto part = static_cast<int>(b % per_block);
  CodedBlock block;
  block.scale = v::half_at(bytes);
  switch (type) {
    case BlockType::q4_0:
      fill(block, [&](int i) { return v::nibble(bytes + 2, i, 16); });
      break;
    case BlockType::q4_1:
      fill(block, [&](int i) { return v::nibble(bytes + 4, i, 16); });
      block.minimum = v::half_at(bytes + 2);
      break;
    case BlockType::q5_0:
      fill(block, [&](int i) { return v::five_bits(bytes + 2, bytes + 6, i); });
      break;
    case BlockType::q5_1:
      fill(block, [&](int i) { return v::five_bits(bytes + 4, bytes + 8, i); });
      block.minimum = v::half_at(bytes + 2);
      break;
    case BlockType::q8_0:
      fill(block, [&](int i) { return static_cast<int8_t>(bytes[2 + i]) + 128; });
      break;
    default: {  // Q4_K and Q5_K
      const v::Group group = v::group_of(bytes, part);
      const bool five = type == BlockType::q5_k;
      const uint8_t* quants = bytes + (five ? 48 : 16) + part / 2 * 32;
      fill(block, [&](int i) {
        const int low = part % 2 == 0 ? quants[i] & 0xF : quants[i] >> 4;
        return five ? low + (bytes[16 + i] >> part & 1) * 16 : low;
      });
      block.scale = group.scale;
      block.minimum = -group.minimum;
    }
  }
  return block;
}

CodedBlock rounded_block(const float* values) {
  float largest = 0;
  for (int64_t i = 0; i < kByteBlock; ++i) largest = std::max(largest, std::abs(values[i]));
  CodedBlock block;
  block.scale = c10::Half(largest / 127.0f);  // the scale that decoding will use
  const float inverse = block.scale > 0 ? 1.0f / block.scale : 0.0f;
  fill(block, [&](int i) {
    return 128 + static_cast<int>(std::clamp(std::nearbyint(values[i] * inverse), -127.0f, 127.0f));
  });
  return block;
}

// Where the code of (row of the group, column of the block) is, and by how many bits it is shifted.
struct Place {
  int64_t byte;
  int shift;
};
Place place(int bits, int64_t row, int64_t column) {
  const int64_t vector = (bits == 8 ? column : column % 16) / 4;
  return {vector * kTileRows * 4 + row * 4 + column % 4, bits == 4 && column >= 16 ? 4 : 0};
}

void store_half(uint8_t* at, float value) {
  const c10::Half half(value);
  std::memcpy(at, &half, sizeof half);
}

// block_of(row, block) gives the numbers.
template <class BlockOf>
ByteTiles pack(const CodeFormat& format, int64_t rows, int64_t columns, const std::string& origin,
               const BlockOf& block_of) {
  TORCH_CHECK(columns % kByteBlock == 0, origin, ": rows of ", columns,
              " values are not whole blocks of ", kByteBlock);
  ByteTiles tiles{.rows = rows,
                  .columns = columns,
                  .bits = format.bits,
                  .offset = format.offset,
                  .has_minima = format.has_minima};
  tiles.bytes = at::zeros({tiles.groups(), tiles.blocks(), tiles.tile_bytes()}, at::kByte);
  auto* const bytes = tiles.bytes.mutable_data_ptr<uint8_t>();
  std::atomic<bool> finite = true;
  at::parallel_for(0, tiles.groups(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin * kTileRows; row < std::min(end * kTileRows, rows); ++row) {
      uint8_t* tile = bytes + row / kTileRows * tiles.blocks() * tiles.tile_bytes();
      const int64_t in_group = row % kTileRows;
      for (int64_t b = 0; b < tiles.blocks(); ++b, tile += tiles.tile_bytes()) {
        const CodedBlock block = block_of(row, b);
        for (int64_t i = 0; i < kByteBlock; ++i) {
          const Place p = place(format.bits, in_group, i);
          tile[p.byte] |= static_cast<uint8_t>(block.codes[static_cast<size_t>(i)] << p.shift);
        }
        constexpr float kLargestHalf = 65504;
        if (!(std::abs(block.scale) <= kLargestHalf && std::abs(block.minimum) <= kLargestHalf)) {
          finite = false;
        }
        uint8_t* const scale = tile + tiles.code_bytes() + in_group * 2;
        store_half(scale, block.scale);
        if (format.has_minima) store_half(scale + kTileRows * 2, block.minimum);
      }
    }
  });
  if (!finite) throw FormatError(origin + ": a weight is beyond what half-precision scales hold");
  return tiles;
}

constexpr CodeFormat kRounded{8, 128, false};

int32_t code_at(const ByteTiles& w, const uint8_t* tile, int64_t row, int64_t column) {
  const Place p = place(w.bits, row, column);
  return tile[p.byte] >> p.shift & (w.bits == 4 ? 0xF : 0xFF);
}

}  // namespace

ByteTiles byte_tiles(const BlockMatrix& blocks, const std::string& origin) {
  const int64_t rows = blocks.bytes.size(0);
  const int64_t row_bytes = block_bytes(blocks.type, blocks.columns);
  TORCH_CHECK(blocks.bytes.size(1) == row_bytes, origin, ": rows of ", blocks.bytes.size(1),
              " bytes, not ", row_bytes);
  const at::Tensor bytes = blocks.bytes.contiguous();
  const auto* data = static_cast<const uint8_t*>(bytes.const_data_ptr());
  const auto format = code_format(blocks.type);
  if (format) {
    return pack(*format, rows, blocks.columns, origin, [&](int64_t row, int64_t b) {
      return coded_block(blocks.type, data + row * row_bytes, b);
    });
  }
  at::Tensor weight = at::empty({rows, blocks.columns}, at::kFloat);
  dequantize(blocks.type, {reinterpret_cast<const std::byte*>(data), bytes.nbytes()},
             weight.numel(), weight.mutable_data_ptr<float>());
  return byte_tiles(weight, origin);
}

ByteTiles byte_tiles(const at::Tensor& weight, const std::string& origin) {
  TORCH_CHECK(weight.dim() == 2 && weight.scalar_type() == at::kFloat, "byte_tiles: fp32 matrix");
  const at::Tensor values = weight.contiguous();
  const auto* data = values.const_data_ptr<float>();
  const int64_t columns = values.size(1);
  return pack(kRounded, values.size(0), columns, origin, [&](int64_t row, int64_t b) {
    return rounded_block(data + row * columns + b * kByteBlock);
  });
}

void decode_row(const ByteTiles& tiles, int64_t row, float* out) {
  const uint8_t* tile =
      tiles.bytes.const_data_ptr<uint8_t>() + row / kTileRows * tiles.blocks() * tiles.tile_bytes();
  const int64_t in_group = row % kTileRows;
  for (int64_t b = 0; b < tiles.blocks(); ++b, tile += tiles.tile_bytes()) {
    const uint8_t* const scales = tile + tiles.code_bytes() + in_group * 2;
    const float scale = block_values::half_at(scales);
    const float minimum = tiles.has_minima ? block_values::half_at(scales + kTileRows * 2) : 0.0f;
    for (int64_t i = 0; i < kByteBlock; ++i) {
      const int32_t code = code_at(tiles, tile, in_group, i) - tiles.offset;
      out[b * kByteBlock + i] = scale * static_cast<float>(code) + minimum;
    }
  }
}

void byte_product_plain(const ByteInput& x, const ByteTiles& w, int64_t first, int64_t last,
                        float* y, int64_t y_stride) {
  const int64_t blocks = w.blocks();
  const auto* bytes = w.bytes.const_data_ptr<uint8_t>();
  for (int64_t row = first * kTileRows; row < std::min(last * kTileRows, w.rows); ++row) {
    const int64_t in_group = row % kTileRows;
    for (int64_t i = 0; i < x.rows; ++i) {
      const uint8_t* tile = bytes + row / kTileRows * blocks * w.tile_bytes();
      float sum = 0;
      for (int64_t b = 0; b < blocks; ++b, tile += w.tile_bytes()) {
        const auto at = static_cast<size_t>(i * blocks + b);
        int32_t dot = -w.offset * x.sums[at];
        for (int64_t k = 0; k < kByteBlock; ++k) {
          dot += code_at(w, tile, in_group, k) *
                 x.codes[static_cast<size_t>(i * x.columns + b * kByteBlock + k)];
        }
        const uint8_t* const scales = tile + w.code_bytes() + in_group * 2;
        sum = std::fma(static_cast<float>(dot), block_values::half_at(scales) * x.scales[at], sum);
        if (w.has_minima) {
          const float minimum = block_values::half_at(scales + kTileRows * 2);
          sum = std::fma(minimum, x.scaled_sums[at], sum);
        }
      }
      y[i * y_stride + row - first * kTileRows] = sum;
    }
  }
}

}  // namespace leash
