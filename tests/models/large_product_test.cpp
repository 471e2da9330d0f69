#include "models/large_product.h"

#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

namespace leash {
namespace {

// Against the product in float64, with the weight as it lies and as a transposed view.
TEST(LargeProduct, AgreesWithTheProductInFloat64) {
  for (const int64_t rows : {32, 257, 300}) {
    for (const int64_t in : {7, 64, 577}) {
      for (const int64_t out : {1, 33, 200}) {
        const at::Tensor x = at::randn({rows, in}, at::kFloat);
        for (const at::Tensor& weight :
             {at::randn({out, in}, at::kFloat), at::randn({in, out}, at::kFloat).t()}) {
          if (!large_product_fits(x, weight)) GTEST_SKIP() << "no AVX-512 here";
          const at::Tensor wanted = x.to(at::kDouble).matmul(weight.to(at::kDouble).t());
          const at::Tensor actual = large_product(x, weight);
          ASSERT_EQ(actual.sizes(), wanted.sizes());
          EXPECT_LT(actual.to(at::kDouble).sub(wanted).abs().max().item<double>(),
                    2e-6 * static_cast<double>(in))
              << rows << "x" << in << "x" << out;
        }
      }
    }
  }
}

TEST(LargeProduct, IsForFp32AndManyRows) {
  const at::Tensor weight = at::randn({8, 8}, at::kFloat);
  EXPECT_FALSE(large_product_fits(at::randn({4, 8}, at::kFloat), weight));
  EXPECT_FALSE(large_product_fits(at::randn({400, 8}, at::kDouble), weight.to(at::kDouble)));
  EXPECT_FALSE(large_product_fits(at::randn({400, 8}, at::kFloat), weight.to(at::kBFloat16)));
}

}  // namespace
}  // namespace leash
