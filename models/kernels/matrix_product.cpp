// A panel of the right factor (kDepth rows of a tile's columns) is copied end to end into the
// second cache and used for many rows of the left one, which is read as it lies. Every element adds
// up in the same order, whatever the tile and the thread.
#include "models/kernels/matrix_product.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/record_function.h>

#include <algorithm>

#include "models/kernels/product_tile.h"

namespace leash {
namespace {

using product_tile::kColumns;
using product_tile::kLanes;
using product_tile::Matrix;
using product_tile::pieces_of;

constexpr int64_t kDepth = 288;               // of a panel: 54 KB
constexpr int64_t kBlock = 512;               // rows that one copy of a panel serves at most
constexpr int64_t kGrain = int64_t{1} << 18;  // multiplications that are worth another thread

struct Problem {
  Matrix left;   // [rows, depth]
  Matrix right;  // [depth, columns]
  float* out = nullptr;
  int64_t out_stride = 0;
  int64_t rows = 0, depth = 0, columns = 0;
  bool add = false;
  float scale = 1;
};

// Rows [begin, end) for the columns of a tile.
template <int Vectors>
LEASH_INLINE void tile_columns(const Problem& p, int64_t begin, int64_t end, int64_t column,
                               float* panel) {
  const int64_t width = std::min<int64_t>(p.columns - column, Vectors * kLanes);
  for (int64_t at = 0; at < p.depth; at += kDepth) {
    const int64_t depth = std::min(kDepth, p.depth - at);
    product_tile::copy_panel<Vectors>(p.right.at(at, column), depth, width, p.scale, panel);
    product_tile::multiply_panel<Vectors>(panel, p.left.at(begin, at), end - begin, depth,
                                          p.add || at > 0, p.out + begin * p.out_stride + column,
                                          p.out_stride, width);
  }
}

LEASH_AVX512 void multiply_columns(const Problem& p, int64_t begin, int64_t end, int64_t column,
                                   float* panel) {
  const int64_t left = p.columns - column;
  if (left > 2 * kLanes) {
    tile_columns<3>(p, begin, end, column, panel);
  } else if (left > kLanes) {
    tile_columns<2>(p, begin, end, column, panel);
  } else {
    tile_columns<1>(p, begin, end, column, panel);
  }
}

void multiply(const Problem& p) {
  if (p.rows == 0 || p.columns == 0) return;
  const int64_t across = pieces_of(p.columns, kColumns);
  // As many blocks of rows as are needed for their size and for all threads, of one size: each
  // copies the panels that it needs.
  int64_t down = pieces_of(p.rows, kBlock);
  while (across * down < 4 * at::get_num_threads() && p.rows > 64 * down) ++down;
  const int64_t block =
      pieces_of(pieces_of(p.rows, down), product_tile::kRows) * product_tile::kRows;
  down = pieces_of(p.rows, block);
  const int64_t work = block * std::min(p.columns, kColumns) * p.depth;  // of a piece
  at::parallel_for(0, across * down, pieces_of(kGrain, work), [&](int64_t begin, int64_t end) {
    alignas(64) static thread_local float panel[kDepth * kColumns];
    for (int64_t piece = begin; piece < end; ++piece) {
      const int64_t row = piece / across * block;
      multiply_columns(p, row, std::min(row + block, p.rows), piece % across * kColumns, panel);
    }
  });
}

bool plain_floats(const at::Tensor& x) {
  return x.scalar_type() == at::kFloat && x.is_cpu() && (x.stride(0) == 1 || x.stride(1) == 1);
}

Matrix matrix(const at::Tensor& x) { return {x.const_data_ptr<float>(), x.stride(0), x.stride(1)}; }

}  // namespace

bool has_matrix_product(const at::Tensor& left, const at::Tensor& right) {
  return product_tile::has_avx512() && plain_floats(left) && plain_floats(right);
}

at::Tensor matrix_product(const at::Tensor& left, const at::Tensor& right) {
  if (!has_matrix_product(left, right)) return left.matmul(right);
  const at::Tensor out =
      at::empty({left.size(0), right.size(1)}, left.options().requires_grad(false));
  matrix_product_into(out, left, right, /*add=*/false);
  return out;
}

at::Tensor linear_product(const at::Tensor& x, const at::Tensor& weight) {
  return matrix_product(x, weight.t());
}

void matrix_product_into(const at::Tensor& out, const at::Tensor& left, const at::Tensor& right,
                         bool add, double scale) {
  if (!has_matrix_product(left, right) || !plain_floats(out) || out.stride(1) != 1 ||
      left.size(1) == 0) {
    at::Tensor target = out;
    target.addmm_(left, right, /*beta=*/add ? 1 : 0, /*alpha=*/scale);
    return;
  }
  TORCH_CHECK(
      left.size(1) == right.size(0) && out.size(0) == left.size(0) && out.size(1) == right.size(1),
      "matrix_product: ", left.sizes(), " and ", right.sizes(), " do not give ", out.sizes());
  RECORD_USER_SCOPE("leash::matrix_product");
  multiply({.left = matrix(left),
            .right = matrix(right),
            .out = out.mutable_data_ptr<float>(),
            .out_stride = out.stride(0),
            .rows = left.size(0),
            .depth = left.size(1),
            .columns = right.size(1),
            .add = add,
            .scale = static_cast<float>(scale)});
}

}  // namespace leash
