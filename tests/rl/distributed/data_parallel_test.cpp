// Lists and digests over real processes; see communicator_test.cpp for how the parts run.
#include "rl/distributed/data_parallel.h"

#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rl/distributed/gather_json.h"
#include "tests/support/rank_parts.h"

namespace leash {
namespace {

using leash::testing::connect;
using leash::testing::expect_all_pass;
using leash::testing::start_parts;
using ::testing::HasSubstr;

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
