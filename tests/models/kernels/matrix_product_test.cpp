#include "models/kernels/matrix_product.h"

#include <ATen/Parallel.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <limits>

namespace leash {
namespace {

at::Tensor wide(const at::Tensor& x) { return x.to(at::kDouble); }
double largest_error(const at::Tensor& x, const at::Tensor& wanted) {
  return wide(x).sub(wanted).abs().max().item<double>();
}
// Numbers of a fully packed tensor, or of one whose rows lie apart, or of its transposed form.
at::Tensor numbers(int64_t rows, int64_t columns, bool transposed) {
  const at::Tensor all =
      at::randn({transposed ? columns : rows, (transposed ? rows : columns) + 5});
  const at::Tensor inner = all.narrow(1, 2, transposed ? rows : columns);
  return transposed ? inner.t() : inner;
}

class MatrixProduct : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!has_matrix_product(at::ones({1, 1}), at::ones({1, 1}))) {
      GTEST_SKIP() << "no AVX-512 here: LibTorch's product is used";
    }
  }
};

// Against the product in float64: every remainder of rows, columns and depth to the sizes of the
// tile and the panel, in all four layouts.
TEST_F(MatrixProduct, AgreesWithTheProductInFloat64) {
  for (const int64_t columns : {1, 5, 16, 17, 33, 48, 49, 96, 112}) {
    for (const int64_t depth : {1, 3, 15, 17, 287, 288, 289, 600}) {
      for (const int64_t rows : {1, 2, 3, 7, 8, 9, 21, 70}) {
        const int layout = static_cast<int>((rows + columns + depth) % 4);
        const at::Tensor left = numbers(rows, depth, (layout & 1) != 0);
        const at::Tensor right = numbers(depth, columns, (layout & 2) != 0);
        const double error =
            largest_error(matrix_product(left, right), wide(left).matmul(wide(right)));
        EXPECT_LT(error, 3e-6 * static_cast<double>(depth) + 1e-6)
            << rows << "x" << depth << "x" << columns << " layout " << layout;
      }
    }
  }
  for (const int64_t rows : {64, 512, 513, 760, 1100}) {  // one block of rows, and several
    const at::Tensor left = at::randn({rows, 40}), right = at::randn({40, 64});
    EXPECT_LT(largest_error(matrix_product(left, right), wide(left).matmul(wide(right))), 1e-4);
  }
}

TEST_F(MatrixProduct, ARowDoesNotDependOnItsNeighboursNorOnThreads) {
  const at::Tensor left = at::randn({1150, 300});
  const at::Tensor weight = at::randn({64, 300});
  const at::Tensor all = matrix_product(left, weight.t());
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  for (const int64_t row : {0, 1, 7, 63, 64, 575, 576, 1149}) {
    EXPECT_TRUE(at::equal(matrix_product(left.narrow(0, row, 1), weight.t()).select(0, 0),
                          all.select(0, row)));
  }
  EXPECT_TRUE(at::equal(matrix_product(left, weight.t()), all));
  EXPECT_TRUE(at::equal(matrix_product(left, weight.t().contiguous()), all));
  at::set_num_threads(threads);
}

TEST_F(MatrixProduct, ScalesAndAddsToWhatIsThere) {
  const at::Tensor left = at::randn({21, 600}), right = at::randn({600, 53});
  const at::Tensor start = at::randn({21, 53});
  const at::Tensor around = at::full({21, 60}, 7.0, at::kFloat);
  const at::Tensor out = around.narrow(1, 4, 53);
  out.copy_(start);
  matrix_product_into(out, left, right, /*add=*/true, /*scale=*/-0.25);
  EXPECT_LT(largest_error(out, wide(start).sub(wide(left).matmul(wide(right)), 0.25)), 1e-4);
  matrix_product_into(out, left, right, /*add=*/false);
  EXPECT_TRUE(at::equal(out, matrix_product(left, right)));
  EXPECT_TRUE(at::equal(around.narrow(1, 0, 4), at::full({21, 4}, 7.0, at::kFloat)));
  EXPECT_TRUE(at::equal(around.narrow(1, 57, 3), at::full({21, 3}, 7.0, at::kFloat)));
}

TEST_F(MatrixProduct, WhatWasThereDoesNotShowWithoutAdd) {
  const at::Tensor out = at::full({9, 17}, std::numeric_limits<float>::quiet_NaN(), at::kFloat);
  matrix_product_into(out, at::ones({9, 5}), at::ones({5, 17}), /*add=*/false);
  EXPECT_TRUE(at::equal(out, at::full({9, 17}, 5.0, at::kFloat)));
}

TEST_F(MatrixProduct, LeavesToLibTorchWhatItDoesNotTake) {
  const at::Tensor x = at::randn({6, 8});
  EXPECT_FALSE(has_matrix_product(x.to(at::kDouble), x.t().to(at::kDouble)));
  EXPECT_FALSE(has_matrix_product(at::randn({6, 8, 2}).select(2, 0), x.t()));
  EXPECT_EQ(matrix_product(x.to(at::kDouble), x.t().to(at::kDouble)).scalar_type(), at::kDouble);
  const at::Tensor nothing = at::full({6, 3}, 9.0, at::kFloat);
  matrix_product_into(nothing, at::ones({6, 0}), at::ones({0, 3}), /*add=*/false);
  EXPECT_TRUE(at::equal(nothing, at::full({6, 3}, 0.0, at::kFloat)));
  EXPECT_EQ(matrix_product(at::ones({0, 4}), at::ones({4, 3})).size(0), 0);
  EXPECT_THROW(matrix_product(x, x), std::exception);
}

// Few rows go through another kernel: what they give is the same up to rounding.
TEST_F(MatrixProduct, LinearProductIsThatOfTheTransposedWeight) {
  const at::Tensor weight = at::randn({40, 70});
  for (const int64_t rows : {1, 64, 65}) {
    const at::Tensor x = at::randn({rows, 70});
    EXPECT_LT(largest_error(linear_product(x, weight), wide(x).matmul(wide(weight).t())), 1e-4);
  }
}

}  // namespace
}  // namespace leash
