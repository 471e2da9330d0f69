// A panel of W (kDepth rows of a tile's columns) is copied end to end into the second cache and
// used for many rows of dy; a tile of rows × columns is held in registers while the panel passes by
// (Goto & van de Geijn 2008, without a copy of dy). Every element adds up in the same order,
// whatever the tile and the thread.
#include "models/transposed_product.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "models/target_clones.h"

namespace leash {
namespace {

constexpr int64_t kLanes = 16;
constexpr int64_t kVectors = 3;  // of a tile's columns
constexpr int64_t kRows = 8;     // of a tile: 24 sums of one register each, of 32
constexpr int64_t kColumns = kVectors * kLanes;
constexpr int64_t kDepth = 288;  // rows of W in a panel: 54 KB
constexpr int64_t kBlock = 512;  // rows of dy that one copy of a panel serves
constexpr int64_t kAhead = 24;   // rows of W between the copied one and the one that is fetched
using Floats = float __attribute__((vector_size(kLanes * sizeof(float))));

struct Problem {
  const float* dy;      // [rows, depth], `dy_stride` apart
  const float* weight;  // [depth, columns]
  float* dx;            // [rows, columns]
  int64_t rows, depth, columns, dy_stride;
  bool add;  // to what is in dx
};

LEASH_INLINE void load(const float* from, Floats& to) { std::memcpy(&to, from, sizeof(to)); }
LEASH_INLINE void store(const Floats& from, float* to) { std::memcpy(to, &from, sizeof(from)); }

// A tile of dx = dy[rows, depth] panel[depth, columns], added to what is there unless this is the
// first panel.
template <int Rows, int Vectors>
LEASH_INLINE void tile(const float* panel, const float* dy, int64_t dy_stride, int64_t depth,
                       bool first, float* dx, int64_t dx_stride) {
  Floats sums[Rows][Vectors] = {};
  if (!first) {
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 3
      for (int v = 0; v < Vectors; ++v) load(dx + r * dx_stride + v * kLanes, sums[r][v]);
    }
  }
  for (int64_t d = 0; d < depth; ++d) {
    Floats weights[Vectors];
#pragma GCC unroll 3
    for (int v = 0; v < Vectors; ++v) load(panel + (d * Vectors + v) * kLanes, weights[v]);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      const float value = dy[r * dy_stride + d];
#pragma GCC unroll 3
      for (int v = 0; v < Vectors; ++v) sums[r][v] += value * weights[v];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 3
    for (int v = 0; v < Vectors; ++v) store(sums[r][v], dx + r * dx_stride + v * kLanes);
  }
}

// The panel of W at (row, column).
template <int Vectors>
LEASH_INLINE void copy_panel(const Problem& p, int64_t row, int64_t column, int64_t depth,
                             float* panel) {
  const float* from = p.weight + row * p.columns + column;
  for (int64_t d = 0; d < depth; ++d, from += p.columns, panel += Vectors * kLanes) {
#pragma GCC unroll 3
    for (int v = 0; v < Vectors; ++v) {
      __builtin_prefetch(from + kAhead * p.columns + v * kLanes, 0, 2);
      std::memcpy(panel + v * kLanes, from + v * kLanes, kLanes * sizeof(float));
    }
  }
}

template <int Rows, int Vectors>
LEASH_INLINE void rows_of_tile(const Problem& p, int64_t row, int64_t column, int64_t at,
                               const float* panel) {
  tile<Rows, Vectors>(panel, p.dy + row * p.dy_stride + at, p.dy_stride,
                      std::min(kDepth, p.depth - at), at == 0 && !p.add,
                      p.dx + row * p.columns + column, p.columns);
}

// Rows [begin, end) for the columns of a tile.
template <int Vectors>
LEASH_INLINE void columns(const Problem& p, int64_t begin, int64_t end, int64_t column,
                          float* panel) {
  for (int64_t at = 0; at < p.depth; at += kDepth) {
    copy_panel<Vectors>(p, at, column, std::min(kDepth, p.depth - at), panel);
    int64_t row = begin;
    for (; end - row >= kRows; row += kRows)
      rows_of_tile<kRows, Vectors>(p, row, column, at, panel);
    for (; end - row >= 2; row += 2) rows_of_tile<2, Vectors>(p, row, column, at, panel);
    if (end > row) rows_of_tile<1, Vectors>(p, row, column, at, panel);
  }
}

#ifdef __x86_64__
__attribute__((target("arch=x86-64-v4,prefer-vector-width=512"))) void tile_columns(
    const Problem& p, int64_t begin, int64_t end, int64_t column, float* panel) {
  switch (std::min(p.columns - column, kColumns) / kLanes) {
    case 3:
      columns<3>(p, begin, end, column, panel);
      break;
    case 2:
      columns<2>(p, begin, end, column, panel);
      break;
    default:
      columns<1>(p, begin, end, column, panel);
      break;
  }
}

bool able() { return __builtin_cpu_supports("x86-64-v4"); }
#else
void tile_columns(const Problem&, int64_t, int64_t, int64_t, float*) {}
bool able() { return false; }
#endif

void multiply(const Problem& p) {
  const int64_t across = (p.columns + kColumns - 1) / kColumns;
  // Enough pieces for all threads; each copies the panels it needs.
  int64_t block = kBlock;
  const auto down = [&] { return (p.rows + block - 1) / block; };
  while (across * down() < 4 * at::get_num_threads() && block > 64) block /= 2;
  at::parallel_for(0, across * down(), /*grain_size=*/1, [&](int64_t begin, int64_t end) {
    std::vector<float> panel(kDepth * kColumns);
    for (int64_t piece = begin; piece < end; ++piece) {
      const int64_t row = piece / across * block;
      tile_columns(p, row, std::min(row + block, p.rows), piece % across * kColumns, panel.data());
    }
  });
}

}  // namespace

bool transposed_product_fits(const at::Tensor& dy, const at::Tensor& weight) {
  static const bool has_avx512 = able();
  return has_avx512 && dy.scalar_type() == at::kFloat && dy.is_cpu() && dy.stride(1) == 1 &&
         weight.scalar_type() == at::kFloat && weight.is_contiguous() &&
         weight.size(1) % kLanes == 0;
}

at::Tensor transposed_product(const at::Tensor& dy, const at::Tensor& weight) {
  const at::Tensor dx = at::empty({dy.size(0), weight.size(1)}, dy.options().requires_grad(false));
  transposed_product_into(dx, dy, weight, /*add=*/false);
  return dx;
}

void transposed_product_into(const at::Tensor& dx, const at::Tensor& dy, const at::Tensor& weight,
                             bool add) {
  TORCH_CHECK(dx.is_contiguous() && dx.size(0) == dy.size(0) && dx.size(1) == weight.size(1),
              "transposed_product_into: dx is [rows, in]");
  RECORD_USER_SCOPE("leash::transposed_product");
  multiply({.dy = dy.const_data_ptr<float>(),
            .weight = weight.const_data_ptr<float>(),
            .dx = dx.mutable_data_ptr<float>(),
            .rows = dy.size(0),
            .depth = weight.size(0),
            .columns = weight.size(1),
            .dy_stride = dy.stride(0),
            .add = add});
}

}  // namespace leash
