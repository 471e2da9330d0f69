// Gradients and sums over real processes; see communicator_test.cpp for how the parts run.
#include "rl/distributed/data_parallel.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "rl/distributed/gather_json.h"
#include "tests/support/rank_parts.h"

namespace leash {
namespace {

using leash::testing::connect;
using leash::testing::expect_all_pass;
using leash::testing::start_parts;
using ::testing::HasSubstr;

struct Sums {
  double loss = 0;
  double largest = 0;
  int64_t rows = 0;
  void add(const Sums& other) {
    loss += other.loss;
    largest = std::max(largest, other.largest);
    rows += other.rows;
  }
};

at::Tensor parameter() {
  at::Tensor leaf = at::zeros({2, 3}, at::kFloat);
  return leaf.requires_grad_(true);
}

// Rank r has the gradient r + 1 for the first parameter, only rank 0 one for the second, nobody one
// for the third; the last rank has none at all.
TEST(RankPart, DISABLED_Sums) {
  const auto communicator = connect();
  const int64_t rank = communicator->rank(), size = communicator->size();
  const bool idle = rank == size - 1;
  std::vector<at::Tensor> parameters = {parameter(), parameter(), parameter()};
  if (!idle) parameters[0].mutable_grad() = at::full({2, 3}, rank + 1, at::kFloat);
  if (rank == 0) parameters[1].mutable_grad() = at::full({2, 3}, 7, at::kFloat);
  const Sums own = idle ? Sums{} : Sums{.loss = 0.5, .largest = 1.0 * (size - rank), .rows = 2};
  const Sums total = sum_over_ranks(*communicator, parameters, own);
  const int64_t busy = size - 1;
  EXPECT_EQ(total.loss, 0.5 * static_cast<double>(busy));
  EXPECT_EQ(total.largest, static_cast<double>(size));
  EXPECT_EQ(total.rows, 2 * busy);
  ASSERT_TRUE(parameters[0].grad().defined());
  EXPECT_TRUE(at::equal(parameters[0].grad(), at::full({2, 3}, busy * (busy + 1) / 2, at::kFloat)));
  ASSERT_TRUE(parameters[1].grad().defined());
  EXPECT_TRUE(at::equal(parameters[1].grad(), at::full({2, 3}, 7, at::kFloat)));
  EXPECT_FALSE(parameters[2].grad().defined());
}

TEST(DataParallel, SumsOverTwoAndThreeRanks) {
  expect_all_pass(start_parts("DISABLED_Sums", 2));
  expect_all_pass(start_parts("DISABLED_Sums", 3));
}

TEST(DataParallel, OneRankKeepsItsOwn) {
  const auto alone = single_communicator();
  std::vector<at::Tensor> parameters = {parameter(), parameter()};
  parameters[0].mutable_grad() = at::full({2, 3}, 2, at::kFloat);
  const Sums total = sum_over_ranks(*alone, parameters, Sums{.loss = 3, .largest = 4, .rows = 5});
  EXPECT_EQ(total.loss, 3);
  EXPECT_EQ(total.rows, 5);
  EXPECT_TRUE(at::equal(parameters[0].grad(), at::full({2, 3}, 2, at::kFloat)));
  EXPECT_FALSE(parameters[1].grad().defined());
}

// Doubles, texts with any bytes, and ranks with nothing.
TEST(RankPart, DISABLED_Json) {
  const auto communicator = connect();
  auto own = nlohmann::json::array();
  if (communicator->rank() != 1) {
    own.push_back({communicator->rank(), 0.1, std::string("\xff\0x", 3)});
  }
  const auto all = gather_json(*communicator, own);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[1][0], 2);
  EXPECT_EQ(all[1][1].get<double>(), 0.1);
  EXPECT_EQ(all[0][2].get<std::string>(), std::string("\xff\0x", 3));
}

TEST(DataParallel, GathersLists) { expect_all_pass(start_parts("DISABLED_Json", 3)); }

// Ranks 1 and 2 are off by one bit.
TEST(RankPart, DISABLED_Unequal) {
  const auto communicator = connect();
  at::Tensor values = at::full({5}, 1.0, at::kFloat);
  require_equal_parameters(*communicator, {values}, "at first");
  if (communicator->rank() > 0) values[4] = 1.0f + 1.2e-7f;
  require_equal_parameters(*communicator, {values}, "after step 3");
}

TEST(DataParallel, ADifferentBitIsNamed) {
  auto ranks = start_parts("DISABLED_Unequal", 3);
  for (const auto& ended : ranks.wait()) {
    EXPECT_EQ(ended.code, 1);
    EXPECT_THAT(ended.out, HasSubstr("after step 3 the trained parameters of rank 1, 2 differ"));
  }
}

}  // namespace
}  // namespace leash
