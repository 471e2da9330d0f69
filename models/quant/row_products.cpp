#include "models/quant/row_products.h"

#include <cstring>

#include "models/kernels/target_clones.h"

namespace leash {
namespace {

constexpr int64_t kLanes = 16;
using Lanes = float __attribute__((vector_size(kLanes * sizeof(float))));

// W weight rows times X input rows; the W X sums stay in registers.
template <int W, int X>
LEASH_INLINE void tile(const float* x, const float* w, int64_t n, float* y, int64_t y_stride) {
  Lanes sums[X][W] = {};
  const int64_t whole = n - n % kLanes;
  for (int64_t k = 0; k < whole; k += kLanes) {
    Lanes weights[W];
    for (int j = 0; j < W; ++j) std::memcpy(&weights[j], w + j * n + k, sizeof(Lanes));
    for (int i = 0; i < X; ++i) {
      Lanes inputs;
      std::memcpy(&inputs, x + i * n + k, sizeof(Lanes));
      for (int j = 0; j < W; ++j) sums[i][j] += inputs * weights[j];
    }
  }
  for (int i = 0; i < X; ++i) {
    for (int j = 0; j < W; ++j) {
      float sum = 0;
      for (int64_t lane = 0; lane < kLanes; ++lane) sum += sums[i][j][lane];
      for (int64_t k = whole; k < n; ++k) sum += x[i * n + k] * w[j * n + k];
      y[i * y_stride + j] = sum;
    }
  }
}

// All input rows for W weight rows.
template <int W>
LEASH_INLINE void columns(const float* x, int64_t x_rows, const float* w, int64_t n, float* y,
                          int64_t y_stride) {
  constexpr int kInputs = 4;
  int64_t i = 0;
  for (; i + kInputs <= x_rows; i += kInputs) {
    tile<W, kInputs>(x + i * n, w, n, y + i * y_stride, y_stride);
  }
  for (; i < x_rows; ++i) tile<W, 1>(x + i * n, w, n, y + i * y_stride, y_stride);
}

}  // namespace

LEASH_CLONES void row_products(const float* x, int64_t x_rows, const float* w, int64_t w_rows,
                               int64_t n, float* y, int64_t y_stride) {
  int64_t j = 0;
  for (; j + 4 <= w_rows; j += 4) columns<4>(x, x_rows, w + j * n, n, y + j, y_stride);
  for (; j < w_rows; ++j) columns<1>(x, x_rows, w + j * n, n, y + j, y_stride);
}

}  // namespace leash
