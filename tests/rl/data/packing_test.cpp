// Packing, and the order of batches.
#include "rl/data/packing.h"

#include <c10/util/Exception.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <numeric>

namespace leash {
namespace {

using ::testing::ElementsAre;
using Lengths = std::vector<int64_t>;

TEST(Packing, BestFitDecreasingFillsTheTightestRow) {
  // 7 and 6 open rows with rooms of 3 and 4; 4 fills the second, 3 the first, 2 and 1 share a
  // third.
  EXPECT_THAT(pack_best_fit(Lengths{1, 4, 7, 3, 6, 2}, 10),
              ElementsAre(ElementsAre(2, 3), ElementsAre(4, 1), ElementsAre(5, 0)));
  // Rooms of 2 (after 8) and 3 (after 7): 2 takes the smaller, although the other came later.
  EXPECT_THAT(pack_best_fit(Lengths{7, 8, 2}, 10), ElementsAre(ElementsAre(1, 2), ElementsAre(0)));
  EXPECT_THAT(pack_best_fit(Lengths{8, 7, 3}, 10), ElementsAre(ElementsAre(0), ElementsAre(1, 2)));
}

TEST(Packing, EqualLengthsKeepTheirOrderAndLongOnesStandAlone) {
  EXPECT_THAT(pack_best_fit(Lengths{5, 5, 5, 12}, 10),
              ElementsAre(ElementsAre(3), ElementsAre(0, 1), ElementsAre(2)));
  EXPECT_TRUE(pack_best_fit(Lengths{}, 10).empty());
  EXPECT_THROW(pack_best_fit(Lengths{1}, 0), c10::Error);
}

TEST(Packing, EverySampleIsInOneRowThatHoldsIt) {
  Lengths lengths;
  for (int64_t i = 0; i < 500; ++i) lengths.push_back(1 + i * 7919 % 97);
  const auto rows = pack_best_fit(lengths, 100);
  std::vector<int64_t> seen;
  int64_t total = 0;
  for (const auto& row : rows) {
    int64_t length = 0;
    for (const int64_t sample : row) length += lengths[sample];
    EXPECT_LE(length, 100);
    total += length;
    seen.insert(seen.end(), row.begin(), row.end());
  }
  std::ranges::sort(seen);
  std::vector<int64_t> all(500);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(seen, all);
  EXPECT_LE(static_cast<int64_t>(rows.size()), (total + 99) / 100 + 2);  // hardly any room is lost
}

std::vector<int64_t> epoch_of(const BatchOrder& order, int64_t epoch) {
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < order.batches_per_epoch(); ++i) {
    const auto batch = order.batch(epoch * order.batches_per_epoch() + i);
    rows.insert(rows.end(), batch.begin(), batch.end());
  }
  return rows;
}

TEST(BatchOrder, EpochsArePermutationsThatDependOnSeedAndEpochAlone) {
  const BatchOrder order(Lengths(11, 1), {.seed = 5, .batch_size = 4});
  EXPECT_EQ(order.batches_per_epoch(), 3);
  EXPECT_EQ(order.batch(2).size(), 3u);  // no batch crosses epochs
  EXPECT_EQ(order.batch(3).size(), 4u);
  const auto first = epoch_of(order, 0), second = epoch_of(order, 1);
  std::vector<int64_t> all(11);
  std::iota(all.begin(), all.end(), 0);
  for (int64_t epoch = 0; epoch < 20; ++epoch) {
    EXPECT_TRUE(std::ranges::is_permutation(epoch_of(order, epoch), all)) << epoch;
  }
  EXPECT_NE(first, second);
  EXPECT_NE(first, all);
  EXPECT_NE(epoch_of(BatchOrder(Lengths(11, 1), {.seed = 6, .batch_size = 4}), 0), first);
  // The batch size does not change an epoch's order.
  EXPECT_EQ(epoch_of(BatchOrder(Lengths(11, 1), {.seed = 5, .batch_size = 3}), 1), second);
}

TEST(BatchOrder, KeepsTheGivenOrderWithoutShuffling) {
  const BatchOrder order(Lengths(5, 1), {.shuffle = false, .batch_size = 2});
  EXPECT_THAT(order.batch(0), ElementsAre(0, 1));
  EXPECT_THAT(order.batch(2), ElementsAre(4));
  EXPECT_THAT(order.batch(4), ElementsAre(2, 3));
  EXPECT_THROW(order.batch(-1), c10::Error);
  EXPECT_THROW(BatchOrder({}, {}), c10::Error);
}

TEST(BatchOrder, GroupsByLengthWithTheLongestFirst) {
  Lengths lengths;
  for (int64_t i = 0; i < 64; ++i) lengths.push_back(10 + i * 37 % 64);
  const BatchOrder order(lengths, {.group_by_length = true, .seed = 9, .batch_size = 4});
  const auto rows = epoch_of(order, 3);
  std::vector<int64_t> all(64);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_TRUE(std::ranges::is_permutation(rows, all));
  EXPECT_EQ(lengths[rows[0]], 73);
  // Stretches of 64 / (4 * 4) = 4 batches: 16 rows of falling length each, but for the exchange of
  // two first rows.
  for (int64_t begin = 0; begin < 64; begin += 16) {
    for (int64_t i = begin + 2; i < begin + 16; ++i) {
      EXPECT_GE(lengths[rows[i - 1]], lengths[rows[i]]);
    }
  }
  EXPECT_NE(epoch_of(order, 4), rows);
}

}  // namespace
}  // namespace leash
