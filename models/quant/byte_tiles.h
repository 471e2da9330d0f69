// Weights and activations in 8 bits and less, for `--fast`: products of small whole numbers, 64 at
// an instruction where the CPU has AVX-512 VNNI. Both sides are rounded, so results are
// approximate; nothing that trains or reports uses this.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "models/weights/tensor_source.h"

namespace leash {

constexpr int64_t kByteBlock = 32;  // neighbours in a row that share a scale
constexpr int64_t kTileRows = 16;   // rows whose codes lie side by side

// w = scale (code - offset) + minimum for blocks of 32 columns; rows in groups of 16 (those past
// the last have zeros), each group block after block: codes, then 16 scales, then 16 minima, in
// fp16. Codes of 8 bits: 8 times [16 rows][4 columns]. Codes of 4 bits: 4 times [16 rows][4 bytes],
// whose low halves are columns 0 to 15 of the block and whose high halves are columns 16 to 31.
struct ByteTiles {
  int64_t rows = 0, columns = 0;
  int bits = 8;      // 4 or 8
  int offset = 128;  // 0 where there are minima
  bool has_minima = false;
  at::Tensor bytes;  // uint8 [groups, blocks, tile_bytes()]

  int64_t groups() const { return (rows + kTileRows - 1) / kTileRows; }
  int64_t blocks() const { return columns / kByteBlock; }
  int64_t code_bytes() const { return kTileRows * kByteBlock * bits / 8; }
  int64_t tile_bytes() const { return code_bytes() + kTileRows * (has_minima ? 4 : 2); }
};

// GGUF blocks of 4, 5 and 8 bits with one scale for 32 values keep their codes and scales (Q4_K's
// and Q5_K's products of two scales are rounded to fp16); other types are brought to 8 bits from
// their values. FormatError where a scale is beyond fp16; TORCH_CHECK where columns are not whole
// blocks.
ByteTiles byte_tiles(const BlockMatrix& blocks, const std::string& origin);
// Weights fp32 [rows, columns], rounded: per block scale = max|w| / 127.
ByteTiles byte_tiles(const at::Tensor& weight, const std::string& origin);

// Row `row` as fp32 [columns] at `out`.
void decode_row(const ByteTiles& tiles, int64_t row, float* out);

// Activations in the same blocks: x = scale code, scale = max|x| / 127.
struct ByteInput {
  int64_t rows = 0, columns = 0;
  std::vector<int8_t> codes;       // [rows, columns]
  std::vector<float> scales;       // [rows, blocks]
  std::vector<int32_t> sums;       // [rows, blocks], of the codes
  std::vector<float> scaled_sums;  // [rows, blocks], scale times sum
};
// x fp32 [rows, columns], contiguous.
ByteInput byte_input(const at::Tensor& x);

// AVX-512 VNNI in this machine.
bool has_byte_product();

// y[i * y_stride + j - 16 first] = Σ_k x[i][k] w[j][k] for the rows j of groups [first, last), on
// the calling thread. Sums within a block are exact; blocks are added in order, in fp32.
void byte_product(const ByteInput& x, const ByteTiles& w, int64_t first, int64_t last, float* y,
                  int64_t y_stride);
// The same in plain loops, bit for bit: what tests compare with and other machines run.
void byte_product_plain(const ByteInput& x, const ByteTiles& w, int64_t first, int64_t last,
                        float* y, int64_t y_stride);

}  // namespace leash
