// Splitting work by its length.
#include "rl/distributed/shares.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "models/random/random.h"

namespace leash {
namespace {

using Shares = std::vector<std::vector<int64_t>>;

TEST(Shares, TheDearestFirstToTheLeastLoaded) {
  const std::vector<int64_t> costs = {2, 9, 4, 4, 3};
  EXPECT_EQ(split_by_cost(costs, 2), (Shares{{0, 1}, {2, 3, 4}}));  // 11 and 11
  EXPECT_EQ(split_by_cost(costs, 1), (Shares{{0, 1, 2, 3, 4}}));
  EXPECT_EQ(split_by_cost(std::vector<int64_t>{5, 5}, 3), (Shares{{0}, {1}, {}}));
  EXPECT_EQ(split_by_cost({}, 2), (Shares{{}, {}}));
}

// Every item once, and no rank above the mean by more than one item (Graham's bound).
TEST(Shares, EveryItemOnceAndNearlyEven) {
  for (int64_t ranks = 1; ranks <= 7; ++ranks) {
    std::vector<int64_t> costs;
    for (uint64_t i = 0; i < 40; ++i) {
      costs.push_back(1 + draw_permutation({11, Purpose::minibatch, i, 0}, 97).front());
    }
    std::vector<int64_t> all;
    for (const auto& share : split_by_cost(costs, ranks)) {
      EXPECT_TRUE(std::ranges::is_sorted(share));
      int64_t load = 0;
      for (const int64_t item : share) load += costs[item];
      const int64_t total = std::accumulate(costs.begin(), costs.end(), int64_t{0});
      EXPECT_LE(load, total / ranks + std::ranges::max(costs));
      all.insert(all.end(), share.begin(), share.end());
    }
    std::ranges::sort(all);
    std::vector<int64_t> expected(costs.size());
    std::iota(expected.begin(), expected.end(), 0);
    EXPECT_EQ(all, expected);
  }
}

}  // namespace
}  // namespace leash
