// The inner part of every matrix product of ours with AVX-512: a tile of rows × columns of the
// result, held in registers while a panel of the right factor passes by (Goto & van de Geijn 2008).
// Inlined into functions that are compiled for it (LEASH_AVX512); internal to models/*.cpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "models/kernels/target_clones.h"

#ifdef __x86_64__
#define LEASH_AVX512 __attribute__((target("arch=x86-64-v4,prefer-vector-width=512")))
#else
#define LEASH_AVX512
#endif

namespace leash::product_tile {

constexpr int64_t kLanes = 16;
constexpr int64_t kVectors = 3;  // of a tile's columns
constexpr int64_t kRows = 8;     // of a tile: 24 sums of one register each, of 32
constexpr int64_t kColumns = kVectors * kLanes;
using Floats = float __attribute__((vector_size(kLanes * sizeof(float))));
using Lanes = int32_t __attribute__((vector_size(kLanes * sizeof(int32_t))));

inline bool has_avx512() {
#ifdef __x86_64__
  static const bool able = __builtin_cpu_supports("x86-64-v4");
  return able;
#else
  return false;
#endif
}

inline int64_t pieces_of(int64_t size, int64_t piece) { return (size + piece - 1) / piece; }

LEASH_INLINE void load(const float* from, Floats& to) { std::memcpy(&to, from, sizeof(to)); }
LEASH_INLINE void store(const Floats& from, float* to) { std::memcpy(to, &from, sizeof(from)); }

// Numbers at data[i row_stride + j column_stride], one of the strides being 1.
struct Matrix {
  const float* data = nullptr;
  int64_t row_stride = 0;
  int64_t column_stride = 1;
  LEASH_INLINE Matrix at(int64_t row, int64_t column) const {
    return {data + row * row_stride + column * column_stride, row_stride, column_stride};
  }
};

// A right factor by vectors: vector v of row d is at data[d row + v vector].
struct Vectors {
  const float* data = nullptr;
  int64_t row = 0;
  int64_t vector = kLanes;
};

// out [Rows, Count kLanes] = left [Rows, depth] right [depth, Count kLanes], or added to what is
// there. Every element adds up in the order of depth.
template <int Rows, int Count>
LEASH_INLINE void tile(const Matrix& left, const Vectors& right, int64_t depth, bool add,
                       float* out, int64_t out_stride) {
  Floats sums[Rows][Count] = {};
  if (add) {
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 3
      for (int v = 0; v < Count; ++v) load(out + r * out_stride + v * kLanes, sums[r][v]);
    }
  }
  const float* column = left.data;
  const float* row = right.data;
  for (int64_t d = 0; d < depth; ++d, column += left.column_stride, row += right.row) {
    Floats factor[Count];
#pragma GCC unroll 3
    for (int v = 0; v < Count; ++v) load(row + v * right.vector, factor[v]);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      const float value = column[r * left.row_stride];
#pragma GCC unroll 3
      for (int v = 0; v < Count; ++v) sums[r][v] += value * factor[v];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 3
    for (int v = 0; v < Count; ++v) store(sums[r][v], out + r * out_stride + v * kLanes);
  }
}

// The same where fewer than Count kLanes columns are there.
template <int Rows, int Count>
LEASH_INLINE void narrow_tile(const Matrix& left, const Vectors& right, int64_t depth, bool add,
                              float* out, int64_t out_stride, int64_t columns) {
  float whole[Rows][Count * kLanes] = {};
  const size_t bytes = static_cast<size_t>(columns) * sizeof(float);
  for (int r = 0; r < Rows && add; ++r) std::memcpy(whole[r], out + r * out_stride, bytes);
  tile<Rows, Count>(left, right, depth, add, whole[0], Count * kLanes);
  for (int r = 0; r < Rows; ++r) std::memcpy(out + r * out_stride, whole[r], bytes);
}

// All rows of a panel's columns: out [rows, columns] = left [rows, depth] panel [depth, columns].
template <int Count>
LEASH_INLINE void multiply_panel(const float* panel, const Matrix& left, int64_t rows,
                                 int64_t depth, bool add, float* out, int64_t out_stride,
                                 int64_t columns) {
  const Vectors right{panel, Count * kLanes, kLanes};
  int64_t row = 0;
  const auto step = [&]<int Rows>() __attribute__((always_inline)) {
    for (; rows - row >= Rows; row += Rows) {
      if (columns == Count * kLanes) {
        tile<Rows, Count>(left.at(row, 0), right, depth, add, out + row * out_stride, out_stride);
      } else {
        narrow_tile<Rows, Count>(left.at(row, 0), right, depth, add, out + row * out_stride,
                                 out_stride, columns);
      }
    }
  };
  step.template operator()<8>();
  step.template operator()<4>();
  step.template operator()<2>();
  step.template operator()<1>();
}

// Transposes 16 × 16 words in registers, whatever they hold.
LEASH_INLINE void transpose_registers(Floats (&rows)[kLanes]) {
  // Swaps blocks of 8, 4, 2, 1 across the diagonal.
  constexpr Lanes kLow8 = {0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23};
  constexpr Lanes kHigh8 = {8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31};
  constexpr Lanes kLow4 = {0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27};
  constexpr Lanes kHigh4 = {4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31};
  constexpr Lanes kLow2 = {0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29};
  constexpr Lanes kHigh2 = {2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31};
  constexpr Lanes kLow1 = {0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30};
  constexpr Lanes kHigh1 = {1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31};
  const auto swap = [&]<int Distance>(const Lanes& low, const Lanes& high)
      __attribute__((always_inline)) {
#pragma GCC unroll 16
    for (int r = 0; r < kLanes; ++r) {
      if ((r & Distance) != 0) continue;
      const Floats a = rows[r], b = rows[r + Distance];
      rows[r] = __builtin_shuffle(a, b, low);
      rows[r + Distance] = __builtin_shuffle(a, b, high);
    }
  };
  swap.template operator()<8>(kLow8, kHigh8);
  swap.template operator()<4>(kLow4, kHigh4);
  swap.template operator()<2>(kLow2, kHigh2);
  swap.template operator()<1>(kLow1, kHigh1);
}

// to = scale times the transposed 16 × 16 block at `from`, through registers.
LEASH_INLINE void transpose_block(const float* from, int64_t stride, float* to, int64_t to_stride,
                                  float scale) {
  Floats rows[kLanes];
#pragma GCC unroll 16
  for (int r = 0; r < kLanes; ++r) {
    load(from + r * stride, rows[r]);
    rows[r] *= scale;
  }
  transpose_registers(rows);
#pragma GCC unroll 16
  for (int r = 0; r < kLanes; ++r) store(rows[r], to + r * to_stride);
}

// scale right[depth, columns] as a panel of Vectors kLanes columns, zeros behind the last.
template <int Vectors>
LEASH_INLINE void copy_panel(const Matrix& right, int64_t depth, int64_t columns, float scale,
                             float* panel) {
  constexpr int64_t kWidth = Vectors * kLanes;
  constexpr int64_t kAhead = 24;  // rows between the copied one and the one that is fetched
  if (columns < kWidth) {
    for (int64_t d = 0; d < depth; ++d) {
      for (int64_t c = 0; c < kWidth; ++c) {
        panel[d * kWidth + c] = c < columns ? scale * *right.at(d, c).data : 0.0f;
      }
    }
  } else if (right.column_stride == 1) {
    const float* from = right.data;
    for (int64_t d = 0; d < depth; ++d, from += right.row_stride) {
#pragma GCC unroll 3
      for (int v = 0; v < Vectors; ++v) {
        __builtin_prefetch(from + kAhead * right.row_stride + v * kLanes, 0, 2);
        Floats values;
        load(from + v * kLanes, values);
        values *= scale;
        store(values, panel + d * kWidth + v * kLanes);
      }
    }
  } else {
    int64_t d = 0;
    for (; d + kLanes <= depth; d += kLanes) {
#pragma GCC unroll 3
      for (int v = 0; v < Vectors; ++v) {
        transpose_block(right.at(d, v * kLanes).data, right.column_stride,
                        panel + d * kWidth + v * kLanes, kWidth, scale);
      }
    }
    for (; d < depth; ++d) {
      for (int64_t c = 0; c < kWidth; ++c) panel[d * kWidth + c] = scale * *right.at(d, c).data;
    }
  }
}

}  // namespace leash::product_tile
