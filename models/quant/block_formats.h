// The element types of GGUF tensors: plain numbers, and blocks of quantised values that share
// scales (ggml's layouts, https://github.com/ggml-org/ggml).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace leash {

// Values are ggml's type numbers.
enum class BlockType : uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q5_0 = 6,
  q5_1 = 7,
  q8_0 = 8,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  i8 = 24,
  i16 = 25,
  i32 = 26,
  i64 = 27,
  f64 = 28,
  bf16 = 30,
};

struct BlockFormat {
  BlockType type;
  std::string_view name;  // as llama.cpp prints it, e.g. "Q4_1"
  int64_t values;         // per block
  int64_t bytes;          // per block
};

// The format of a ggml type number; nullopt for those that are not supported.
std::optional<BlockFormat> block_format(uint32_t ggml_type);
const BlockFormat& block_format(BlockType type);

// Bytes of `count` values, a whole number of blocks.
int64_t block_bytes(BlockType type, int64_t count);

// Turns `count` consecutive values (a whole number of blocks) into fp32, bit for bit as ggml's
// reference does. Rows of a matrix are whole blocks, so a row or a tile is a call with its own
// part of the bytes. Runs on the calling thread.
void dequantize_blocks(BlockType type, const std::byte* bytes, int64_t count, float* out);

// The same for a whole tensor, on all threads; `bytes` must be exactly as long as `count` needs.
void dequantize(BlockType type, std::span<const std::byte> bytes, int64_t count, float* out);

}  // namespace leash
