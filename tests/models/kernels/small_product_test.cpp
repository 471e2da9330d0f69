#include "models/kernels/small_product.h"

#include <ATen/Parallel.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

namespace leash {
namespace {

// Against the product in float64: every remainder of rows, outputs and inputs to the tile's sizes.
TEST(SmallProduct, AgreesWithTheProductInFloat64) {
  for (const int64_t in : {1, 15, 16, 47, 576}) {
    for (const int64_t out : {1, 3, 4, 50}) {
      for (const int64_t rows : {1, 2, 3, 4, 5, 6, 7, 11, 12, 13}) {
        const at::Tensor x = at::randn({rows, in}, at::kFloat);
        const at::Tensor weight = at::randn({out, in}, at::kFloat);
        if (!small_product_fits(x, weight)) GTEST_SKIP() << "no AVX-512 here";
        const at::Tensor wanted = x.to(at::kDouble).matmul(weight.to(at::kDouble).t());
        const double error =
            small_product(x, weight).to(at::kDouble).sub(wanted).abs().max().item<double>();
        EXPECT_LT(error, 2e-6 * static_cast<double>(in)) << rows << "x" << in << "x" << out;
      }
    }
  }
}

TEST(SmallProduct, ARowDoesNotDependOnItsNeighboursNorOnThreads) {
  const at::Tensor x = at::randn({13, 100}, at::kFloat);
  const at::Tensor weight = at::randn({70, 100}, at::kFloat);
  if (!small_product_fits(x, weight)) GTEST_SKIP() << "no AVX-512 here";
  const at::Tensor all = small_product(x, weight);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  for (int64_t row = 0; row < x.size(0); ++row) {
    EXPECT_TRUE(
        at::equal(small_product(x.narrow(0, row, 1), weight).select(0, 0), all.select(0, row)));
  }
  at::set_num_threads(threads);
}

TEST(SmallProduct, TakesRowsThatLieApart) {
  const at::Tensor wide = at::randn({5, 64}, at::kFloat);
  const at::Tensor x = wide.narrow(1, 3, 33);
  const at::Tensor weight = at::randn({9, 33}, at::kFloat);
  if (!small_product_fits(x, weight)) GTEST_SKIP() << "no AVX-512 here";
  EXPECT_TRUE(at::equal(small_product(x, weight), small_product(x.contiguous(), weight)));
  EXPECT_FALSE(small_product_fits(wide.t(), weight));
  EXPECT_FALSE(small_product_fits(x.to(at::kDouble), weight));
}

}  // namespace
}  // namespace leash
