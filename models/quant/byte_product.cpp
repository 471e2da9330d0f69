// The product of byte_tiles.h with AVX-512 VNNI. A register holds the sums of 16 weight rows; one
// instruction adds, to each of them, four products of a weight's code and an activation's.
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "models/kernels/target_clones.h"
#include "models/quant/byte_tiles.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace leash {
namespace {

struct Problem {
  const int8_t* codes;
  const float* scales;
  const int32_t* sums;
  const float* scaled_sums;
  const uint8_t* tiles;  // of the group
  int64_t columns, blocks, tile_bytes, code_bytes;
  int offset;
  int64_t outputs;  // of the group, up to 16
  float* y;         // of the group's first row
  int64_t y_stride;
};

LEASH_CLONES void round_row(const float* x, int64_t blocks, int8_t* codes, float* scales,
                            int32_t* sums, float* scaled_sums) {
  for (int64_t b = 0; b < blocks; ++b, x += kByteBlock, codes += kByteBlock) {
    float largest = 0, broken = 0;  // NaN where a value is not finite
    for (int64_t i = 0; i < kByteBlock; ++i) {
      const float size = std::abs(x[i]);
      largest = size > largest ? size : largest;
      broken += x[i] * 0.0f;
    }
    const float inverse = largest > 0 ? 127.0f / largest : 0.0f;
    int32_t sum = 0;
    for (int64_t i = 0; i < kByteBlock; ++i) {
      const float scaled = x[i] * inverse;
      const auto code = static_cast<int32_t>(std::nearbyint(scaled == scaled ? scaled : 0.0f));
      codes[i] = static_cast<int8_t>(code);
      sum += code;
    }
    scales[b] = largest / 127.0f + broken;  // so that results are not finite either
    sums[b] = sum;
    scaled_sums[b] = scales[b] * static_cast<float>(sum);
  }
}

#ifdef __x86_64__
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512vnni,f16c,fma")

// Rows [row, row + Rows) of x for the 16 rows of a group.
template <int Rows, int Bits, bool Minima>
LEASH_INLINE void rows_of_group(const Problem& p, int64_t row) {
  constexpr int kVectors = Bits == 8 ? 8 : 4;
  constexpr int64_t kAhead = 4096;  // bytes: what the processor fetches by itself ends at a page
  const __m512i low_half = _mm512_set1_epi8(0xF);
  const int8_t* codes[Rows];
  for (int r = 0; r < Rows; ++r) codes[r] = p.codes + (row + r) * p.columns;
  __m512 sums[Rows];
  for (int r = 0; r < Rows; ++r) sums[r] = _mm512_setzero_ps();
  const uint8_t* tile = p.tiles;
  for (int64_t b = 0; b < p.blocks; ++b, tile += p.tile_bytes) {
    __m512i dots[Rows];
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      dots[r] = Minima ? _mm512_setzero_si512()
                       : _mm512_set1_epi32(-p.offset * p.sums[(row + r) * p.blocks + b]);
    }
    const auto inputs = [&](int r, int vector) {
      int32_t four = 0;
      __builtin_memcpy(&four, codes[r] + b * kByteBlock + vector * 4, sizeof four);
      return _mm512_set1_epi32(four);
    };
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const __m512i bytes = _mm512_loadu_si512(tile + v * 64);
      if (row == 0) __builtin_prefetch(tile + kAhead + v * 64, 0, 2);
      if constexpr (Bits == 8) {
#pragma GCC unroll 8
        for (int r = 0; r < Rows; ++r) dots[r] = _mm512_dpbusd_epi32(dots[r], bytes, inputs(r, v));
      } else {
        const __m512i low = _mm512_and_si512(bytes, low_half);
        const __m512i high = _mm512_and_si512(_mm512_srli_epi16(bytes, 4), low_half);
#pragma GCC unroll 8
        for (int r = 0; r < Rows; ++r) dots[r] = _mm512_dpbusd_epi32(dots[r], low, inputs(r, v));
#pragma GCC unroll 8
        for (int r = 0; r < Rows; ++r) {
          dots[r] = _mm512_dpbusd_epi32(dots[r], high, inputs(r, 4 + v));
        }
      }
    }
    const auto halves = [&](int64_t at) {
      return _mm512_cvtph_ps(
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(tile + p.code_bytes + at)));
    };
    const __m512 scales = halves(0);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      const __m512 scale =
          _mm512_mul_ps(scales, _mm512_set1_ps(p.scales[(row + r) * p.blocks + b]));
      sums[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[r]), scale, sums[r]);
    }
    if constexpr (Minima) {
      const __m512 minima = halves(2 * kTileRows);
#pragma GCC unroll 8
      for (int r = 0; r < Rows; ++r) {
        const __m512 sum = _mm512_set1_ps(p.scaled_sums[(row + r) * p.blocks + b]);
        sums[r] = _mm512_fmadd_ps(minima, sum, sums[r]);
      }
    }
  }
  const auto stored = static_cast<__mmask16>((1u << p.outputs) - 1);
  for (int r = 0; r < Rows; ++r) {
    _mm512_mask_storeu_ps(p.y + (row + r) * p.y_stride, stored, sums[r]);
  }
}

template <int Bits, bool Minima>
void group(const Problem& p, int64_t rows) {
  int64_t row = 0;
  for (; row + 8 <= rows; row += 8) rows_of_group<8, Bits, Minima>(p, row);
  if (row + 4 <= rows) {
    rows_of_group<4, Bits, Minima>(p, row);
    row += 4;
  }
  if (row + 2 <= rows) {
    rows_of_group<2, Bits, Minima>(p, row);
    row += 2;
  }
  if (row < rows) rows_of_group<1, Bits, Minima>(p, row);
}

#pragma GCC pop_options

using Kernel = void (*)(const Problem&, int64_t);

Kernel kernel_for(const ByteTiles& w) {
  if (w.bits == 8) return w.has_minima ? group<8, true> : group<8, false>;
  return w.has_minima ? group<4, true> : group<4, false>;
}
#endif

}  // namespace

bool has_byte_product() {
#ifdef __x86_64__
  static const bool able =
      __builtin_cpu_supports("x86-64-v4") && __builtin_cpu_supports("avx512vnni");
  return able;
#else
  return false;
#endif
}

ByteInput byte_input(const at::Tensor& x) {
  TORCH_CHECK(x.dim() == 2 && x.scalar_type() == at::kFloat && x.is_contiguous() &&
                  x.size(1) % kByteBlock == 0,
              "byte_input: fp32 [rows, columns], contiguous, of whole blocks");
  const int64_t rows = x.size(0), columns = x.size(1), blocks = columns / kByteBlock;
  ByteInput input{.rows = rows, .columns = columns};
  input.codes.resize(static_cast<size_t>(rows * columns));
  input.scales.resize(static_cast<size_t>(rows * blocks));
  input.sums.resize(static_cast<size_t>(rows * blocks));
  input.scaled_sums.resize(static_cast<size_t>(rows * blocks));
  const auto* data = x.const_data_ptr<float>();
  at::parallel_for(0, rows, std::max<int64_t>(32768 / columns, 1), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      round_row(data + row * columns, blocks, input.codes.data() + row * columns,
                input.scales.data() + row * blocks, input.sums.data() + row * blocks,
                input.scaled_sums.data() + row * blocks);
    }
  });
  return input;
}

void byte_product(const ByteInput& x, const ByteTiles& w, int64_t first, int64_t last, float* y,
                  int64_t y_stride) {
#ifdef __x86_64__
  if (has_byte_product()) {
    const Kernel kernel = kernel_for(w);
    for (int64_t group = first; group < last; ++group) {
      const int64_t row = group * kTileRows;
      kernel({.codes = x.codes.data(),
              .scales = x.scales.data(),
              .sums = x.sums.data(),
              .scaled_sums = x.scaled_sums.data(),
              .tiles = w.bytes.const_data_ptr<uint8_t>() + group * w.blocks() * w.tile_bytes(),
              .columns = x.columns,
              .blocks = w.blocks(),
              .tile_bytes = w.tile_bytes(),
              .code_bytes = w.code_bytes(),
              .offset = w.offset,
              .outputs = std::min(kTileRows, w.rows - row),
              .y = y + row - first * kTileRows,
              .y_stride = y_stride},
             x.rows);
    }
    return;
  }
#endif
  byte_product_plain(x, w, first, last, y, y_stride);
}

}  // namespace leash
