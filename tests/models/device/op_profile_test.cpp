#include "models/device/op_profile.h"

#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/record_function.h>
#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace leash {
namespace {

void sleep_ms(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

// An operator that works for 30 ms itself and calls another for 60 ms.
void outer() {
  RECORD_USER_SCOPE("test::outer");
  sleep_ms(30);
  {
    RECORD_USER_SCOPE("test::inner");
    sleep_ms(60);
  }
}

TEST(OpProfile, CountsCallsAndLeavesOutWhatWasCalled) {
  OpProfile profile;
  const at::Tensor a = at::ones({8, 8});
  for (int i = 0; i < 3; ++i) (void)at::mm(a, a);
  outer();
  std::thread(outer).join();
  const OpCosts costs = profile.take();
  EXPECT_EQ(costs.at("aten::mm").calls, 3);
  EXPECT_EQ(costs.at("test::outer").calls, 2);
  EXPECT_EQ(costs.at("test::inner").calls, 2);
  EXPECT_GE(costs.at("test::outer").seconds, 0.06);
  EXPECT_GE(costs.at("test::inner").seconds, 0.12);
  // Without the callee's time, whatever this machine does meanwhile.
  EXPECT_LT(costs.at("test::outer").seconds, costs.at("test::inner").seconds);
  EXPECT_TRUE(profile.take().empty());
}

TEST(OpProfile, OneAtATimeAndNothingOutsideOfItsLife) {
  (void)at::ones({2});
  OpProfile profile;
  EXPECT_TRUE(profile.take().empty());
  EXPECT_THROW(OpProfile(), c10::Error);
}

}  // namespace
}  // namespace leash
