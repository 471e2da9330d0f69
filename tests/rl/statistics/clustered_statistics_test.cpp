// Intervals for values in groups: formulas by hand, what they become for groups of one, and that
// they cover what they promise.
#include "rl/statistics/clustered_statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "models/random/random.h"

namespace leash {
namespace {

std::vector<int64_t> own_groups(size_t count) {
  std::vector<int64_t> groups;
  for (size_t i = 0; i < count; ++i) groups.push_back(static_cast<int64_t>(i));
  return groups;
}

TEST(ClusteredStatistics, GroupsOfOneAreStudentsInterval) {
  const std::vector<double> values = {1.0, 2.5, -0.5, 4.0};
  const MeanInterval plain = mean_interval(values);
  const MeanInterval grouped = clustered_mean(values, own_groups(4));
  EXPECT_EQ(grouped.mean, plain.mean);
  EXPECT_NEAR(grouped.ci95->low, plain.ci95->low, 1e-12);
  EXPECT_NEAR(grouped.ci95->high, plain.ci95->high, 1e-12);
}

TEST(ClusteredStatistics, AGroupsValuesCountTogether) {
  // Groups {1, 3} and {2, 6}: mean 3, group sums -2 and 2, s² = 2/1 · 8 / 16 = 1, t(1) = 12.706.
  const MeanInterval value =
      clustered_mean(std::vector<double>{1, 3, 2, 6}, std::vector<int64_t>{7, 7, 9, 9});
  EXPECT_EQ(value.mean, 3);
  EXPECT_NEAR(value.ci95->high - 3, 12.7062, 1e-4);
  EXPECT_FALSE(clustered_mean(std::vector<double>{1, 3}, std::vector<int64_t>{7, 7}).ci95);
  EXPECT_EQ(clustered_mean({}, {}).n, 0);
}

TEST(ClusteredStatistics, SharesAreWilsonsInterval) {
  std::vector<double> values(20, 1.0);
  values[3] = values[4] = 0.0;
  const MeanInterval value = clustered_share(values, own_groups(20));
  EXPECT_DOUBLE_EQ(value.mean, 0.9);
  // s² exceeds p (1 - p) / n by n / (n - 1) for groups of one: n is 19.
  const double n = 19, z = 1.959964, p = 0.9;
  const double centre = (p + z * z / 2 / n) / (1 + z * z / n);
  const double half = z * std::sqrt(p * (1 - p) / n + z * z / 4 / n / n) / (1 + z * z / n);
  EXPECT_NEAR(value.ci95->low, centre - half, 1e-6);
  EXPECT_NEAR(value.ci95->high, centre + half, 1e-6);
}

TEST(ClusteredStatistics, SharesStayInsideAndHaveAWidthWhereAllAreEqual) {
  const std::vector<double> values(10, 1.0);
  const MeanInterval value = clustered_share(values, own_groups(10));
  EXPECT_EQ(value.mean, 1);
  EXPECT_NEAR(value.ci95->low, 0.7225, 1e-4);
  EXPECT_NEAR(value.ci95->high, 1, 1e-12);
}

// Forty equal values of ten prompts say no more than ten: nothing tells how alike those of one are.
TEST(ClusteredStatistics, AShareOfAllOrNothingCountsGroups) {
  std::vector<double> values(40, 1.0);
  std::vector<int64_t> groups;
  for (int64_t i = 0; i < 40; ++i) groups.push_back(i / 4);
  EXPECT_NEAR(clustered_share(values, groups).ci95->low, 0.7225, 1e-4);
  values.assign(40, 0.0);
  EXPECT_NEAR(clustered_share(values, groups).ci95->high, 1 - 0.7225, 1e-4);
}

TEST(ClusteredStatistics, EqualPairsOfOnePromptCountOnce) {
  std::vector<double> values, single;
  std::vector<int64_t> groups;
  for (int64_t group = 0; group < 30; ++group) {
    const double value = group % 3 == 0 ? 0.0 : 1.0;
    single.push_back(value);
    for (int i = 0; i < 4; ++i) {
      values.push_back(value);
      groups.push_back(group);
    }
  }
  const MeanInterval copies = clustered_share(values, groups);
  const MeanInterval once = clustered_share(single, own_groups(30));
  EXPECT_NEAR(copies.ci95->low, once.ci95->low, 1e-12);
  EXPECT_NEAR(copies.ci95->high, once.ci95->high, 1e-12);
}

TEST(ClusteredStatistics, CorrelationIsPearsonsWithAnIntervalAroundIt) {
  std::vector<double> x, y;
  for (uint64_t i = 0; i < 60; ++i) {
    x.push_back(1e6 + draw_normal({.seed = 3, .a = i}));
    y.push_back(0.6 * (x.back() - 1e6) + 0.8 * draw_normal({.seed = 4, .a = i}));
  }
  const MeanInterval value = clustered_correlation(x, y, own_groups(60), 1);
  double mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
  for (size_t i = 0; i < 60; ++i) {
    mx += x[i] / 60;
    my += y[i] / 60;
  }
  for (size_t i = 0; i < 60; ++i) {
    xx += (x[i] - mx) * (x[i] - mx);
    yy += (y[i] - my) * (y[i] - my);
    xy += (x[i] - mx) * (y[i] - my);
  }
  EXPECT_NEAR(value.mean, xy / std::sqrt(xx * yy), 1e-9);
  EXPECT_LT(value.ci95->low, value.mean);
  EXPECT_GT(value.ci95->high, value.mean);
  // Fisher's interval is 0.40 to 0.74 for a correlation of 0.6; the bootstrap's width is like it.
  EXPECT_NEAR(value.ci95->high - value.ci95->low,
              std::tanh(std::atanh(value.mean) + 0.26) - std::tanh(std::atanh(value.mean) - 0.26),
              0.12);
  EXPECT_EQ(clustered_correlation(x, y, own_groups(60), 1).ci95->low, value.ci95->low);
  EXPECT_EQ(
      clustered_correlation(std::vector<double>{1, 1}, std::vector<double>{1, 2}, own_groups(2), 1)
          .mean,
      0);
}

// 400 data sets of 40 prompts with 3 pairs each that agree among themselves.
TEST(ClusteredStatistics, IntervalsCoverWhatTheyPromise) {
  int mean_covers = 0, share_covers = 0;
  for (uint64_t round = 0; round < 400; ++round) {
    std::vector<double> values, signs;
    std::vector<int64_t> groups;
    for (uint64_t group = 0; group < 40; ++group) {
      const double prompt = draw_normal({.seed = 11, .a = round, .b = group});
      for (uint64_t i = 0; i < 3; ++i) {
        values.push_back(prompt + 0.3 * draw_normal({.seed = 12, .a = round, .b = group, .c = i}));
        signs.push_back(values.back() > 0 ? 1.0 : 0.0);
        groups.push_back(static_cast<int64_t>(group));
      }
    }
    const auto covers = [](const MeanInterval& value, double truth) {
      return value.ci95->low <= truth && truth <= value.ci95->high ? 1 : 0;
    };
    mean_covers += covers(clustered_mean(values, groups), 0.0);
    share_covers += covers(clustered_share(signs, groups), 0.5);
  }
  EXPECT_NEAR(mean_covers, 380, 14);  // 95 % of 400, three standard errors
  EXPECT_NEAR(share_covers, 380, 14);
}

}  // namespace
}  // namespace leash
