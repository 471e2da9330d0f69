#include "models/kernels/panels.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "models/kernels/product_tile.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace leash::panels {
namespace {

using product_tile::Floats;

constexpr int64_t kTileRows = 8;  // times kGroup: 24 sums of one register each, of 32
constexpr int64_t kWordsAtOnce =
    1024;  // of a group of panels: 196 KB, which stay in the second cache
constexpr int64_t kPanelsAhead =
    4096;  // bytes: what the processor fetches by itself ends at a page

#ifdef __x86_64__
// One region for both kinds: nothing but the intrinsic itself becomes an instruction of
// AVX512-BF16.
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4,avx512bf16,prefer-vector-width=512")

struct Single {
  static LEASH_INLINE void add(uint32_t word, const __m512i& factor, __m512& sum) {
    sum = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int32_t>(word))),
                          _mm512_castsi512_ps(factor), sum);
  }
};

struct Pairs {
  static LEASH_INLINE void add(uint32_t word, const __m512i& factor, __m512& sum) {
    const __m512i pair = _mm512_set1_epi32(static_cast<int32_t>(word));
    sum = _mm512_dpbf16_ps(sum, (__m512bh)factor, (__m512bh)pair);
  }
};

// Rows × Count panels, the last of them with the lanes in `last`.
template <class Number, int Rows, int Count>
LEASH_INLINE void tile(const Product& p, const uint32_t* left, const uint32_t* panels,
                       int64_t words, bool add, float* out, __mmask16 last) {
  __m512 sums[Rows][Count];
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 3
    for (int v = 0; v < Count; ++v) {
      const __mmask16 lanes = v + 1 == Count ? last : static_cast<__mmask16>(-1);
      sums[r][v] = add ? _mm512_maskz_loadu_ps(lanes, out + r * p.out_stride + v * kOutputs)
                       : _mm512_setzero_ps();
    }
  }
  for (int64_t word = 0; word < words; ++word, panels += kOutputs) {
    __m512i factor[Count];
#pragma GCC unroll 3
    for (int v = 0; v < Count; ++v) {
      const uint32_t* const at = panels + v * p.panel_stride;
      factor[v] = _mm512_loadu_si512(at);
      __builtin_prefetch(reinterpret_cast<const char*>(at) + kPanelsAhead, 0, 2);
    }
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      uint32_t value;
      std::memcpy(&value, left + r * p.left_stride + word, sizeof(value));
#pragma GCC unroll 3
      for (int v = 0; v < Count; ++v) Number::add(value, factor[v], sums[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 3
    for (int v = 0; v < Count; ++v) {
      const __mmask16 lanes = v + 1 == Count ? last : static_cast<__mmask16>(-1);
      _mm512_mask_storeu_ps(out + r * p.out_stride + v * kOutputs, lanes, sums[r][v]);
    }
  }
}

// All rows for `Count` panels from `column` on.
template <class Number, int Count>
void multiply_group(const Product& p, int64_t column) {
  const int64_t width = std::min<int64_t>(p.columns - column, Count * kOutputs);
  const auto last = static_cast<__mmask16>((1u << (width - (Count - 1) * kOutputs)) - 1);
  for (int64_t at = 0; at < p.words; at += kWordsAtOnce) {
    const int64_t words = std::min(kWordsAtOnce, p.words - at);
    const bool add = p.add || at > 0;
    const uint32_t* const panels = p.panels + column / kOutputs * p.panel_stride + at * kOutputs;
    int64_t row = 0;
    const auto rows = [&]<int Rows>() __attribute__((always_inline)) {
      tile<Number, Rows, Count>(p, p.left + row * p.left_stride + at, panels, words, add,
                                p.out + row * p.out_stride + column, last);
      row += Rows;
    };
    while (p.rows - row >= kTileRows) rows.template operator()<8>();
    switch (p.rows - row) {
      case 7:
        rows.template operator()<7>();
        break;
      case 6:
        rows.template operator()<6>();
        break;
      case 5:
        rows.template operator()<5>();
        break;
      case 4:
        rows.template operator()<4>();
        break;
      case 3:
        rows.template operator()<3>();
        break;
      case 2:
        rows.template operator()<2>();
        break;
      case 1:
        rows.template operator()<1>();
        break;
      default:
        break;
    }
  }
}

template <class Number>
void multiply_all(const Product& p) {
  for (int64_t column = 0; column < p.columns; column += kGroup * kOutputs) {
    const int64_t left = p.columns - column;
    if (left > 2 * kOutputs) {
      multiply_group<Number, 3>(p, column);
    } else if (left > kOutputs) {
      multiply_group<Number, 2>(p, column);
    } else {
      multiply_group<Number, 1>(p, column);
    }
  }
}

void round_fast(const float* x, int64_t n, uint16_t* rounded) {
  for (int64_t i = 0; i < n; i += kOutputs) {
    const int64_t count = std::min(kOutputs, n - i);
    const auto lanes = static_cast<__mmask16>((1u << count) - 1);
    const __m256i numbers = (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(lanes, x + i));
    // The zero behind an odd number goes along.
    const auto stored = static_cast<__mmask16>((1u << (count + count % 2)) - 1);
    _mm256_mask_storeu_epi16(rounded + i, stored, numbers);
  }
}
#pragma GCC pop_options
#endif

// The 16 × 16 words at `from`, turned.
LEASH_INLINE void turn_block(const uint32_t* from, int64_t stride, uint32_t* to,
                             int64_t to_stride) {
  Floats rows[kOutputs];
  for (int64_t r = 0; r < kOutputs; ++r) std::memcpy(&rows[r], from + r * stride, sizeof(Floats));
  product_tile::transpose_registers(rows);
  for (int64_t r = 0; r < kOutputs; ++r) std::memcpy(to + r * to_stride, &rows[r], sizeof(Floats));
}

LEASH_AVX512 void pack_fast(const uint32_t* rows, int64_t stride, int64_t words, uint32_t* panel) {
  int64_t word = 0;
  for (; word + kOutputs <= words; word += kOutputs)
    turn_block(rows + word, stride, panel + word * kOutputs, kOutputs);
  for (; word < words; ++word) {
    for (int64_t r = 0; r < kOutputs; ++r) panel[word * kOutputs + r] = rows[r * stride + word];
  }
}

// Words [word, word + 16) of a panel, those behind the last being zeros, turned: [outputs][words].
LEASH_INLINE void turned_words(const uint32_t* panel, int64_t word, int64_t words,
                               uint32_t* turned) {
  if (word + kOutputs <= words)
    return turn_block(panel + word * kOutputs, kOutputs, turned, kOutputs);
  uint32_t block[kOutputs * kOutputs] = {};
  if (word < words) {
    std::memcpy(block, panel + word * kOutputs,
                static_cast<size_t>((words - word) * kOutputs) * sizeof(uint32_t));
  }
  turn_block(block, kOutputs, turned, kOutputs);
}

using Halves = uint16_t __attribute__((vector_size(64)));

// Two outputs' rows of 32 bf16 numbers, as two panels' words of the pair.
LEASH_INLINE void interleave(const uint32_t* first, const uint32_t* second, uint32_t* low,
                             uint32_t* high) {
  constexpr Halves kLow = {0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                           8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
  constexpr Halves kHigh = kLow + 16;
  Halves a, b;
  std::memcpy(&a, first, sizeof(a));
  std::memcpy(&b, second, sizeof(b));
  const Halves x = __builtin_shuffle(a, b, kLow), y = __builtin_shuffle(a, b, kHigh);
  std::memcpy(low, &x, sizeof(x));
  std::memcpy(high, &y, sizeof(y));
}

// 16 outputs of one panel: their words of inputs [input, input + 32) to two panels that are
// `stride` words apart.
LEASH_AVX512 void turn_pairs(const uint32_t* panel, int64_t words, int64_t input, uint32_t* to,
                             int64_t stride) {
  uint32_t block[kOutputs * kOutputs];
  turned_words(panel, input / 2, words, block);
  for (int64_t pair = 0; pair < kOutputs / 2; ++pair) {
    const uint32_t* const rows = block + pair * 2 * kOutputs;
    interleave(rows, rows + kOutputs, to + pair * kOutputs, to + stride + pair * kOutputs);
  }
}

LEASH_AVX512 void turn_single(const uint32_t* panel, int64_t words, int64_t input, uint32_t* to,
                              int64_t stride) {
  turned_words(panel, input, words, to);
  turned_words(panel, input + kOutputs, words, to + stride);
}

}  // namespace

bool has(Kind kind) {
#ifdef __x86_64__
  static const bool pairs = product_tile::has_avx512() && __builtin_cpu_supports("avx512bf16") != 0;
  return kind == Kind::single ? product_tile::has_avx512() : pairs;
#else
  return false;
#endif
}

void round_row(const float* x, int64_t n, uint16_t* rounded) {
#ifdef __x86_64__
  if (has(Kind::pairs)) return round_fast(x, n, rounded);
#endif
  for (int64_t i = 0; i < n; ++i) {
    const auto bits = std::bit_cast<uint32_t>(x[i]);
    rounded[i] = std::isnan(x[i])
                     ? uint16_t{0x7FC0}
                     : static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
  }
  if (n % 2 != 0) rounded[n] = 0;
}

void pack_panel(const uint32_t* rows, int64_t stride, int64_t count, int64_t words,
                uint32_t* panel) {
  if (count == kOutputs && product_tile::has_avx512()) return pack_fast(rows, stride, words, panel);
  for (int64_t word = 0; word < words; ++word) {
    for (int64_t r = 0; r < kOutputs; ++r)
      panel[word * kOutputs + r] = r < count ? rows[r * stride + word] : 0;
  }
}

void multiply(const Product& product) {
  if (product.rows == 0 || product.columns == 0) return;
#ifdef __x86_64__
  if (product.kind == Kind::single) return multiply_all<Single>(product);
  multiply_all<Pairs>(product);
#else
  multiply_plain(product);
#endif
}

void multiply_plain(const Product& p) {
  for (int64_t row = 0; row < p.rows; ++row) {
    for (int64_t column = 0; column < p.columns; ++column) {
      const uint32_t* panel = p.panels + column / kOutputs * p.panel_stride + column % kOutputs;
      const uint32_t* left = p.left + row * p.left_stride;
      float& out = p.out[row * p.out_stride + column];
      float sum = p.add ? out : 0.0f;
      for (int64_t word = 0; word < p.words; ++word) {
        uint32_t a, b;
        std::memcpy(&a, left + word, sizeof(a));
        std::memcpy(&b, panel + word * kOutputs, sizeof(b));
        if (p.kind == Kind::single) {
          sum = std::fma(std::bit_cast<float>(a), std::bit_cast<float>(b), sum);
          continue;
        }
        constexpr uint32_t kSecond = 0xFFFF0000;
        sum = std::fma(std::bit_cast<float>(a & kSecond), std::bit_cast<float>(b & kSecond), sum);
        sum = std::fma(std::bit_cast<float>(a << 16), std::bit_cast<float>(b << 16), sum);
      }
      out = sum;
    }
  }
}

void turn_panels(Kind kind, const uint32_t* panels, int64_t panel_stride, int64_t words,
                 int64_t output, int64_t depth, int64_t input, int64_t columns, uint32_t* turned) {
  const int64_t per_panel = words_of(kind, kOutputs);  // of the turned ones, from one given panel
  const int64_t stride = turned_stride(kind, depth);
  for (int64_t given = 0; given < panels_of(depth); ++given) {
    const uint32_t* const panel = panels + (output / kOutputs + given) * panel_stride;
    for (int64_t column = 0; column < columns; column += kTurned) {
      uint32_t* const to = turned + column / kOutputs * stride + given * per_panel * kOutputs;
      if (kind == Kind::single) {
        turn_single(panel, words, input + column, to, stride);
      } else {
        turn_pairs(panel, words, input + column, to, stride);
      }
    }
  }
}

}  // namespace leash::panels
