// Numbers that an update may leave behind.
#include "rl/optim/finite.h"

#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include <limits>

namespace leash {
namespace {

TEST(Finite, OneNumberOfAnyTensorDecides) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  for (const at::ScalarType dtype : {at::kFloat, at::kHalf, at::kBFloat16, at::kDouble}) {
    const auto of = [&](double value) {
      at::Tensor tensor = at::ones({3, 5}, dtype);
      tensor[1][2] = value;
      return tensor;
    };
    EXPECT_TRUE(all_finite({of(1), of(-2)}));
    for (const double bad : {kInfinity, -kInfinity, std::numeric_limits<double>::quiet_NaN()}) {
      EXPECT_FALSE(all_finite({of(1), of(bad), of(1)})) << dtype << " " << bad;
    }
  }
  // Infinities of both signs, and large numbers whose sum in their own type would be one.
  EXPECT_FALSE(all_finite({at::full({1}, kInfinity), at::full({1}, -kInfinity)}));
  EXPECT_TRUE(all_finite({at::full({9}, 3e38), at::full({9}, 6e4, at::kHalf)}));
  EXPECT_TRUE(all_finite({}));
}

}  // namespace
}  // namespace leash
