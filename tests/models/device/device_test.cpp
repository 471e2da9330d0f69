// What this machine is good at.
#include "models/device/device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace leash {
namespace {

using ::testing::HasSubstr;

TEST(Device, ANarrowTypeWarnsWithBothFiguresWhereItIsSlower) {
  for (const DtypeChoice narrow : {DtypeChoice::bfloat16, DtypeChoice::float16}) {
    EXPECT_EQ(slow_dtype(narrow, {.float32 = 100, .narrow = 100}), std::nullopt);
    EXPECT_EQ(slow_dtype(narrow, {.float32 = 100, .narrow = 180}), std::nullopt);
    const auto warning = slow_dtype(narrow, {.float32 = 123.4, .narrow = 0.94});
    ASSERT_TRUE(warning);
    EXPECT_THAT(*warning, HasSubstr("reached 0.9 GFLOP/s in it and 123.4 in float32"));
    EXPECT_THAT(*warning, HasSubstr("model.dtype: " + std::string(enum_name(narrow))));
  }
}

TEST(Device, ProductsAreMeasured) {
  for (const DtypeChoice narrow : {DtypeChoice::bfloat16, DtypeChoice::float16}) {
    const ProductSpeeds speeds = measure_products(narrow);
    EXPECT_GT(speeds.float32, 0.1);
    EXPECT_LT(speeds.float32, 1e5);
    EXPECT_GT(speeds.narrow, 0.01);
    EXPECT_LT(speeds.narrow, 1e5);
  }
  EXPECT_THROW(measure_products(DtypeChoice::float64), c10::Error);
}

}  // namespace
}  // namespace leash
