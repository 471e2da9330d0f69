#include "models/transposed_product.h"

#include <ATen/Parallel.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

namespace leash {
namespace {

// Against the product in float64: every remainder of rows, columns and depth to the tile's and the
// panel's sizes.
TEST(TransposedProduct, AgreesWithTheProductInFloat64) {
  for (const int64_t in : {16, 32, 48, 64, 96, 112}) {
    for (const int64_t out : {1, 3, 287, 288, 289, 600}) {
      for (const int64_t rows : {1, 2, 3, 7, 8, 9, 21, 70}) {
        const at::Tensor dy = at::randn({rows, out}, at::kFloat);
        const at::Tensor weight = at::randn({out, in}, at::kFloat);
        if (!transposed_product_fits(dy, weight)) GTEST_SKIP() << "no AVX-512 here";
        const at::Tensor wanted = dy.to(at::kDouble).matmul(weight.to(at::kDouble));
        const double error =
            transposed_product(dy, weight).to(at::kDouble).sub(wanted).abs().max().item<double>();
        EXPECT_LT(error, 3e-6 * static_cast<double>(out)) << rows << "x" << out << "x" << in;
      }
    }
  }
}

TEST(TransposedProduct, ARowDoesNotDependOnItsNeighboursNorOnThreads) {
  const at::Tensor dy = at::randn({150, 300}, at::kFloat);
  const at::Tensor weight = at::randn({300, 64}, at::kFloat);
  if (!transposed_product_fits(dy, weight)) GTEST_SKIP() << "no AVX-512 here";
  const at::Tensor all = transposed_product(dy, weight);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  for (const int64_t row : {0, 1, 7, 63, 64, 149}) {
    EXPECT_TRUE(at::equal(transposed_product(dy.narrow(0, row, 1), weight).select(0, 0),
                          all.select(0, row)));
  }
  EXPECT_TRUE(at::equal(transposed_product(dy, weight), all));
  at::set_num_threads(threads);
}

TEST(TransposedProduct, AddsToWhatIsThere) {
  const at::Tensor dy = at::randn({21, 600}, at::kFloat);
  const at::Tensor weight = at::randn({600, 48}, at::kFloat);
  if (!transposed_product_fits(dy, weight)) GTEST_SKIP() << "no AVX-512 here";
  const at::Tensor start = at::randn({21, 48}, at::kFloat);
  const at::Tensor sum = start.clone();
  transposed_product_into(sum, dy, weight, /*add=*/true);
  const at::Tensor wanted = start.add(transposed_product(dy, weight));
  EXPECT_LT(sum.sub(wanted).abs().max().item<double>(), 1e-4);
  transposed_product_into(sum, dy, weight, /*add=*/false);
  EXPECT_TRUE(at::equal(sum, transposed_product(dy, weight)));
}

TEST(TransposedProduct, TakesRowsThatLieApart) {
  const at::Tensor wide = at::randn({11, 64}, at::kFloat);
  const at::Tensor dy = wide.narrow(1, 3, 33);
  const at::Tensor weight = at::randn({33, 32}, at::kFloat);
  if (!transposed_product_fits(dy, weight)) GTEST_SKIP() << "no AVX-512 here";
  EXPECT_TRUE(
      at::equal(transposed_product(dy, weight), transposed_product(dy.contiguous(), weight)));
  EXPECT_FALSE(transposed_product_fits(wide.t(), weight));
  EXPECT_FALSE(transposed_product_fits(dy.to(at::kDouble), weight));
  EXPECT_FALSE(transposed_product_fits(dy, at::randn({33, 40}, at::kFloat)));
}

}  // namespace
}  // namespace leash
