// What this machine is good at.
#include "models/device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace leash {
namespace {

using ::testing::HasSubstr;

TEST(Device, Bfloat16WarnsWithBothFiguresWhereItIsSlower) {
  EXPECT_EQ(slow_bfloat16({.float32 = 100, .bfloat16 = 100}), std::nullopt);
  EXPECT_EQ(slow_bfloat16({.float32 = 100, .bfloat16 = 180}), std::nullopt);
  const auto warning = slow_bfloat16({.float32 = 123.4, .bfloat16 = 0.94});
  ASSERT_TRUE(warning);
  EXPECT_THAT(*warning, HasSubstr("reached 0.9 GFLOP/s in it and 123.4 in float32"));
}

TEST(Device, ProductsAreMeasured) {
  const ProductSpeeds speeds = measure_products();
  EXPECT_GT(speeds.float32, 0.1);
  EXPECT_LT(speeds.float32, 1e5);
  EXPECT_GT(speeds.bfloat16, 0.01);
  EXPECT_LT(speeds.bfloat16, 1e5);
}

}  // namespace
}  // namespace leash
