// The frontier, and what choosing adds, against simulated runs whose truth is known.
#include "rl/report/sweep_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "models/random/random.h"

namespace leash {
namespace {

using ::testing::ElementsAre;

TEST(RewardFrontier, HasThePointsThatNothingBeats) {
  const std::vector<FrontierPoint> points = {{2, 1.0}, {1, 0.5}, {3, 0.9},         {1, 0.7},
                                             {4, 2.0}, {2, 1.0}, {std::nan(""), 9}};
  EXPECT_THAT(reward_frontier(points), ElementsAre(3, 0, 4));
  EXPECT_THAT(reward_frontier({}), ElementsAre());
}

double normal(uint64_t world, uint64_t candidate, uint64_t prompt) {
  return draw_normal(
      {.seed = 11, .purpose = Purpose::noise, .a = world, .b = candidate, .c = prompt});
}

// Candidates of true reward truth(i), with noise of standard deviation 1 at each prompt.
template <class Truth>
std::vector<SweepCandidate> simulated(uint64_t world, size_t candidates, size_t prompts,
                                      const Truth& truth) {
  std::vector<SweepCandidate> all;
  for (size_t i = 0; i < candidates; ++i) {
    SweepCandidate& one = all.emplace_back();
    one.run = i;
    for (size_t p = 0; p < prompts; ++p) {
      // Odd prompts are harder: a half's own level must not count as choosing.
      one.rewards.push_back(truth(i) + normal(world, i, p) - (p % 2 == 1 ? 5.0 : 0.0));
      one.kls.push_back(static_cast<double>(i));
    }
  }
  return all;
}

TEST(SweepChoiceSimulated, OfEqualRunsAllTheLeadIsChoosing) {
  constexpr size_t kWorlds = 400, kCandidates = 20, kPrompts = 64;
  double added = 0, honest = 0, covered = 0;
  for (uint64_t world = 0; world < kWorlds; ++world) {
    const auto all = simulated(world, kCandidates, kPrompts, [](size_t) { return 1.0; });
    const auto choice = choose_best(all, std::nullopt);
    ASSERT_TRUE(choice);
    added += choice->by_choosing / kWorlds;
    honest += (choice->reward.mean + 5.0) / kWorlds;
    const bool covers = choice->reward.ci95->low <= -4.0 && choice->reward.ci95->high >= -4.0;
    covered += covers ? 1.0 / kWorlds : 0;
  }
  // The expected maximum of 20 standard normals is 1.867; a half has 32 prompts.
  EXPECT_NEAR(added, 1.867 / std::sqrt(32.0), 0.02);
  EXPECT_NEAR(honest, 1.0, 0.03);  // the truth of every candidate
  EXPECT_NEAR(covered, 0.95, 0.035);
}

TEST(SweepChoiceSimulated, AClearWinnerOwesNothingToChoosing) {
  const auto all =
      simulated(0, 10, 64, [](size_t i) { return i == 7 ? 20.0 : static_cast<double>(i) / 10; });
  const auto choice = choose_best(all, std::nullopt);
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice->candidate, 7u);
  EXPECT_NEAR(choice->by_choosing, 0, 0.5);
  EXPECT_EQ(choice->candidates, 10u);
  // Within a bound it is out of reach.
  const auto bounded = choose_best(all, 5.5);
  ASSERT_TRUE(bounded);
  EXPECT_LE(all[bounded->candidate].run, 5u);
  EXPECT_EQ(bounded->candidates, 6u);
  EXPECT_FALSE(choose_best(all, -1.0));
}

TEST(SweepChoice, NeedsPrompts) {
  EXPECT_FALSE(choose_best({}, std::nullopt));
  const std::vector<SweepCandidate> few = {{.rewards = {1, 2, 3}, .kls = {0, 0, 0}}};
  EXPECT_FALSE(choose_best(few, std::nullopt));
}

}  // namespace
}  // namespace leash
