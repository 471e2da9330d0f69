#include "rl/run/phase_profile.h"

#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

namespace leash {
namespace {

void sleep_ms(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

TEST(PhaseProfile, EveryMomentBelongsToOnePhase) {
  const auto begin = std::chrono::steady_clock::now();
  PhaseProfile profile("loading");
  sleep_ms(5);
  for (int i = 0; i < 2; ++i) {
    profile.enter("sampling");
    (void)at::ones({2});
    sleep_ms(20);
    profile.enter("updating");
    sleep_ms(5);
  }
  const auto phases = profile.phases();
  const std::chrono::duration<double> whole = std::chrono::steady_clock::now() - begin;
  ASSERT_EQ(phases.size(), 3u);
  EXPECT_EQ(phases[0].name, "loading");
  EXPECT_EQ(phases[0].times, 1);
  EXPECT_EQ(phases[1].name, "sampling");
  EXPECT_EQ(phases[1].times, 2);
  EXPECT_EQ(phases[1].ops.at("aten::ones").calls, 2);
  EXPECT_EQ(phases[2].times, 2);
  EXPECT_EQ(phases[2].ops.count("aten::ones"), 0u);
  EXPECT_GE(phases[1].seconds, 0.04);
  double sum = 0;
  for (const auto& phase : phases) sum += phase.seconds;
  EXPECT_LE(sum, whole.count());
  EXPECT_GE(sum, 0.055);

  const auto json = profile_json(phases);
  EXPECT_EQ(json["phases"][1]["ops"]["aten::ones"]["calls"], 2);
  EXPECT_DOUBLE_EQ(json["seconds"].get<double>(), sum);
  EXPECT_THAT(profile_table(phases), ::testing::HasSubstr("sampling"));
}

}  // namespace
}  // namespace leash
