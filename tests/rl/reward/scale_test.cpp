// Weight, clip and running normalisation, beside numpy (tests/golden/make_reward_functions.py).
#include "rl/reward/scale.h"

#include <gmock/gmock.h>

#include "rl/reward/score_table.h"
#include "tests/rl/json_tensors.h"

namespace leash {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::read_golden;

std::vector<RewardConfig> two_sources() {
  RewardConfig first, second;
  first.weight = 0.5;
  first.clip = {-1.2, 1.2};
  first.normalize = Normalize::running;
  first.label = "first";
  second.weight = 2;
  second.clip = {-1, 4};
  return {first, second};
}

TEST(GoldenRewardScale, RunningTotalsAreNumpys) {
  const auto golden = read_golden("reward_functions.json")["measures"]["running"];
  const auto configs = two_sources();
  auto moments = fresh_moments(configs);
  std::vector<double> first, second;
  for (size_t batch = 0; batch < golden["batches"].size(); ++batch) {
    const std::vector<std::vector<double>> scores = golden["batches"][batch];
    const auto totals = running_totals(configs, scores, moments);
    ASSERT_EQ(moments.size(), 1u);
    EXPECT_EQ(moments[0].count, golden["moments"][batch][0].get<int64_t>());
    EXPECT_NEAR(moments[0].mean, golden["moments"][batch][1].get<double>(), 1e-12);
    EXPECT_NEAR(moments[0].deviation(), golden["moments"][batch][2].get<double>(), 1e-12);
    for (size_t i = 0; i < totals.size(); ++i) {
      EXPECT_NEAR(totals[i], golden["totals"][batch][i].get<double>(), 1e-12);
      first.push_back(scores[i][0]);
      second.push_back(scores[i][1]);
    }
    moments = fresh_moments(configs, moments);  // as a snapshot hands them on
  }
  EXPECT_NEAR(*correlation(first, second), golden["correlation"].get<double>(), 1e-12);
}

TEST(RewardScale, EqualScoresSayNothing) {
  const auto configs = two_sources();
  auto moments = fresh_moments(configs);
  EXPECT_THAT(running_totals(configs, {{3, 1}, {3, 9}}, moments), ElementsAre(2, 8));
  EXPECT_THAT(running_totals(configs, {}, moments), ElementsAre());
}

TEST(RewardScale, HeldOutTotalsAreNotNormalised) {
  EXPECT_EQ(plain_total(two_sources(), std::vector<double>{10, 9}), 0.5 * 10 + 2 * 4);
}

TEST(RewardScale, MomentsBelongToTheirLabels) {
  auto configs = two_sources();
  const RunningMoments known{.label = "first", .count = 3, .mean = 1, .squares = 2};
  EXPECT_THAT(fresh_moments(configs, {{.label = "other", .count = 9}, known}), ElementsAre(known));
  configs[0].label = "renamed";
  EXPECT_EQ(fresh_moments(configs, {known})[0].count, 0);
  configs[0].normalize = Normalize::none;
  EXPECT_TRUE(fresh_moments(configs, {known}).empty());
}

TEST(ScoreTable, ShowsDistributionsAndDisagreements) {
  ScoreTable table{.labels = {"right", "length"}, .seconds = {0.5, 0}};
  for (int i = 0; i < 5; ++i) {
    table.answers.push_back({.prompt = "p",
                             .answer = "answer " + std::to_string(i),
                             .tokens = i,
                             .scores = {i == 4 ? 0.0 : 1.0, static_cast<double>(i)},
                             .total = static_cast<double>(i)});
  }
  const Distribution right = distribution_of({1, 1, 1, 1, 0});
  EXPECT_DOUBLE_EQ(right.mean, 0.8);
  EXPECT_DOUBLE_EQ(right.deviation, std::sqrt(0.2));
  EXPECT_EQ(right.median, 1);
  EXPECT_EQ(right.different, 2);
  EXPECT_THAT(right.histogram, ElementsAre(1, 0, 0, 0, 0, 0, 0, 0, 0, 4));
  const auto pairs = disagreements(table);
  ASSERT_EQ(pairs.size(), 1u);
  EXPECT_THAT(pairs[0].answers, ElementsAre(4, 0));  // furthest apart first
  EXPECT_LT(*pairs[0].correlation, 0);
  const std::string text = score_table_text(table, 2);
  EXPECT_THAT(text, HasSubstr("answer 5: 0 against 4: answer 4"));
  EXPECT_THAT(text, HasSubstr("3 more (--show 5, or --json)"));
  const auto lines = score_table_lines(table);
  ASSERT_EQ(lines.size(), 6u);
  EXPECT_EQ(lines[4]["scores"].dump(), R"({"right":0.0,"length":4.0})");
  EXPECT_NEAR(lines[5]["summary"]["sources"][1]["corr_length"].get<double>(), 1, 1e-12);
  EXPECT_EQ(lines[5]["summary"]["disagreements"][0]["answers"].dump(), "[4,0]");
  table.answers.resize(1);
  EXPECT_EQ(score_table_lines(table)[1]["summary"]["sources"][0]["corr_length"], nullptr);
}

}  // namespace
}  // namespace leash
