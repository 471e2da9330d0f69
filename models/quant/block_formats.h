// The element types of GGUF tensors: plain numbers, and blocks of quantised values that share
// scales (ggml's layouts, https://github.com/ggml-org/ggml).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "models/weights/block_type.h"

namespace leash {

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
