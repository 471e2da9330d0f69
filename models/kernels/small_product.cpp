// A tile of rows × outputs is held in registers, each as a vector of 16 partial sums along `in`;
// four outputs' sums are added up together at the end. Every tile adds in the same order, so that
// neither the tile's size nor the thread shows in the result.
#include "models/kernels/small_product.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/record_function.h>

#include <algorithm>

#include "models/kernels/product_tile.h"

namespace leash {
namespace {

using product_tile::Floats;
using product_tile::kLanes;
using product_tile::Lanes;
using product_tile::load;

constexpr int64_t kOutputs = 4;  // of a tile
constexpr int64_t kBlock = 32;   // outputs whose weights stay in the second cache while x passes by
constexpr int64_t kAhead = 16;   // outputs between those at work and those that are fetched

struct Problem {
  const float* x;       // [rows, in], `x_stride` apart
  const float* weight;  // [out, in]
  float* y;             // [rows, out], `y_stride` apart
  int64_t rows, in, out, x_stride, y_stride;
};

// The sums over lanes of four vectors, in lanes 0, 4, 8 and 12.
LEASH_INLINE void sum_lanes(const Floats& a, const Floats& b, const Floats& c, const Floats& d,
                            Floats& sums) {
  constexpr Lanes kLow = {0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23};
  constexpr Lanes kHigh = {8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31};
  constexpr Lanes kEven = {0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27};
  constexpr Lanes kOdd = {4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31};
  constexpr Lanes kSwap2 = {2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13};
  constexpr Lanes kSwap1 = {1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14};
  const Floats ab = __builtin_shuffle(a, b, kLow) + __builtin_shuffle(a, b, kHigh);
  const Floats cd = __builtin_shuffle(c, d, kLow) + __builtin_shuffle(c, d, kHigh);
  const Floats quarters = __builtin_shuffle(ab, cd, kEven) + __builtin_shuffle(ab, cd, kOdd);
  const Floats pairs = quarters + __builtin_shuffle(quarters, kSwap2);
  sums = pairs + __builtin_shuffle(pairs, kSwap1);
}

// Rows [row, row + Rows) × outputs [output, output + kOutputs), those past the end computed again
// from the last one and not stored. With `Fetch` the weights of later outputs are called in from
// memory meanwhile: what the processor fetches by itself ends at every page.
template <int Rows, bool Fetch>
LEASH_INLINE void tile(const Problem& p, int64_t row, int64_t output) {
  const float* x[Rows];
  const float* w[kOutputs];
  for (int r = 0; r < Rows; ++r) x[r] = p.x + (row + r) * p.x_stride;
  for (int o = 0; o < kOutputs; ++o) w[o] = p.weight + std::min(output + o, p.out - 1) * p.in;
  const float* later =
      p.weight + std::max(std::min(output + kAhead, p.out - kOutputs), int64_t{0}) * p.in;
  Floats sums[Rows][kOutputs] = {};
  int64_t i = 0;
  for (; i + kLanes <= p.in; i += kLanes) {
    Floats weights[kOutputs];
#pragma GCC unroll 4
    for (int o = 0; o < kOutputs; ++o) load(w[o] + i, weights[o]);
    if constexpr (Fetch) {
#pragma GCC unroll 4
      for (int o = 0; o < kOutputs; ++o) __builtin_prefetch(later + o * p.in + i, 0, 2);
    }
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      Floats value;
      load(x[r] + i, value);
#pragma GCC unroll 4
      for (int o = 0; o < kOutputs; ++o) sums[r][o] += value * weights[o];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
    Floats total;
    sum_lanes(sums[r][0], sums[r][1], sums[r][2], sums[r][3], total);
    float* y = p.y + (row + r) * p.y_stride + output;
    for (int64_t o = 0; o < std::min(kOutputs, p.out - output); ++o) {
      float value = total[o * 4];
      for (int64_t j = i; j < p.in; ++j) value += x[r][j] * w[o][j];
      y[o] = value;
    }
  }
}

template <int Rows>
LEASH_INLINE void tiles(const Problem& p, int64_t row, int64_t begin, int64_t end) {
  for (int64_t output = begin; output < end; output += kOutputs) {
    if (row == 0) {
      tile<Rows, true>(p, row, output);
    } else {
      tile<Rows, false>(p, row, output);
    }
  }
}

// All rows for outputs [begin, end), a block of outputs at a time.
template <int Rows>
LEASH_INLINE void outputs(const Problem& p, int64_t begin, int64_t end) {
  for (int64_t block = begin; block < end; block += kBlock) {
    const int64_t stop = std::min(block + kBlock, end);
    int64_t row = 0;
    for (; row + Rows <= p.rows; row += Rows) tiles<Rows>(p, row, block, stop);
    switch (p.rows - row) {
      case 5:
        tiles<5>(p, row, block, stop);
        break;
      case 4:
        tiles<4>(p, row, block, stop);
        break;
      case 3:
        tiles<3>(p, row, block, stop);
        break;
      case 2:
        tiles<2>(p, row, block, stop);
        break;
      case 1:
        tiles<1>(p, row, block, stop);
        break;
      default:
        break;
    }
  }
}

// 24 sums of one register each, of 32. There is no AVX2 version: the same source compiled for it,
// where a vector takes two of 16 registers, reached 21 GFLOP/s at 16 rows, LibTorch's product 116.
LEASH_AVX512 void multiply(const Problem& p, int64_t begin, int64_t end) {
  outputs<6>(p, begin, end);
}

}  // namespace

bool has_small_product() { return product_tile::has_avx512(); }

bool small_product_fits(const at::Tensor& x, const at::Tensor& weight) {
  return has_small_product() && x.size(0) <= kSmallProductRows && x.scalar_type() == at::kFloat &&
         x.is_cpu() && x.stride(1) == 1 && weight.scalar_type() == at::kFloat &&
         weight.is_contiguous();
}

at::Tensor small_product(const at::Tensor& x, const at::Tensor& weight) {
  at::Tensor y = at::empty({x.size(0), weight.size(0)}, x.options().requires_grad(false));
  const Problem problem{.x = x.const_data_ptr<float>(),
                        .weight = weight.const_data_ptr<float>(),
                        .y = y.mutable_data_ptr<float>(),
                        .rows = x.size(0),
                        .in = x.size(1),
                        .out = weight.size(0),
                        .x_stride = x.stride(0),
                        .y_stride = weight.size(0)};
  const int64_t tiles = (problem.out + kOutputs - 1) / kOutputs;
  RECORD_USER_SCOPE("leash::small_product");
  at::parallel_for(0, tiles, /*grain_size=*/8, [&](int64_t begin, int64_t end) {
    multiply(problem, begin * kOutputs, std::min(end * kOutputs, problem.out));
  });
  return y;
}

void small_product_here(const float* x, int64_t rows, const float* weight, int64_t out, int64_t in,
                        float* y, int64_t y_stride) {
  multiply({.x = x,
            .weight = weight,
            .y = y,
            .rows = rows,
            .in = in,
            .out = out,
            .x_stride = in,
            .y_stride = y_stride},
           0, out);
}

}  // namespace leash
