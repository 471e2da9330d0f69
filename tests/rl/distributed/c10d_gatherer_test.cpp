// Parts of weights between real processes over Gloo.
#include "rl/distributed/c10d_gatherer.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <stdexcept>
#include <thread>

#include "models/weights/gather_queue.h"
#include "tests/support/rank_parts.h"

namespace leash {
namespace {

using leash::testing::connect;
using leash::testing::Ended;
using leash::testing::expect_all_pass;
using leash::testing::Ranks;
using leash::testing::start_parts;
using Keep = GatherQueue::Keep;
using ::testing::HasSubstr;

// Units of several sizes and types, while the sums of gradients are under way; the last rank has
// nothing to compute.
TEST(RankPart, DISABLED_Gathers) {
  const auto communicator = connect();
  communicator->shard_weights();
  const std::shared_ptr<GatherQueue> queue = communicator->gathers();
  const int64_t rank = communicator->rank(), size = communicator->size();
  EXPECT_EQ(queue->rank(), rank);
  EXPECT_EQ(queue->size(), size);
  queue->add(at::arange(1 << 20, at::kFloat).add(static_cast<double>(rank)));
  queue->add(at::full({16}, 0.5 + static_cast<double>(rank), at::kBFloat16));
  queue->add(at::full({1000}, -1.0 - static_cast<double>(rank), at::kDouble));
  for (int round = 0; round < 4; ++round) {
    const at::Tensor gradient = at::full({2 << 20}, 1.0);
    const auto sums = communicator->start_all_reduce({gradient});
    GatherScope scope(queue.get(), round % 2 == 0 ? Keep::next : Keep::all);
    const int64_t passes = rank == size - 1 ? 0 : 1 + rank;
    for (int64_t pass = 0; pass < passes; ++pass) {
      queue->begin_pass();
      const at::Tensor first = queue->acquire(0);
      ASSERT_EQ(first.numel(), size << 20);
      for (int64_t i = 0; i < size; ++i) {
        EXPECT_EQ(first[(i << 20) + 7].item<double>(), 7.0 + static_cast<double>(i));
        EXPECT_EQ(queue->acquire(1)[16 * i + 3].item<double>(), 0.5 + static_cast<double>(i));
        EXPECT_EQ(queue->acquire(2)[1000 * i + 999].item<double>(), -1.0 - static_cast<double>(i));
      }
    }
    scope.finish();
    EXPECT_EQ(queue->held_bytes(), 0);
    sums->wait();
    EXPECT_EQ(gradient[5].item<double>(), static_cast<double>(size));
  }
  EXPECT_GT(queue->counts().bytes, 0);
}

TEST(ThreadsC10dGatherer, TwoRanks) { expect_all_pass(start_parts("DISABLED_Gathers", 2)); }
TEST(C10dGatherer, FourRanks) { expect_all_pass(start_parts("DISABLED_Gathers", 4)); }

// Rank 1 fails while rank 0 waits for a gather and rank 2 has left the scope.
TEST(RankPart, DISABLED_OneFailsInAScope) {
  const auto communicator = connect();
  communicator->shard_weights();
  GatherQueue& queue = *communicator->gathers();
  queue.add(at::full({16}, 1.0));
  GatherScope scope(&queue, Keep::next);
  if (communicator->rank() == 1) {
    communicator->report_failure(std::runtime_error("a text has no end"));
    return;
  }
  if (communicator->rank() == 0) queue.acquire(0);
  scope.finish();
}

TEST(ThreadsC10dGatherer, AnErrorOfOneRankIsNamedByThoseWhoWait) {
  Ranks ranks = start_parts("DISABLED_OneFailsInAScope", 3);
  const auto ended = ranks.wait();
  EXPECT_EQ(ended[1].code, 0) << ended[1].out;
  for (const int64_t rank : {0, 2}) {
    EXPECT_EQ(ended[rank].code, 1);
    EXPECT_THAT(ended[rank].out, HasSubstr("rank 1 failed: a text has no end"));
  }
}

// Rank 1 is killed while the others wait for it.
TEST(RankPart, DISABLED_OneIsKilledInAScope) {
  const auto communicator = connect();
  communicator->shard_weights();
  GatherQueue& queue = *communicator->gathers();
  queue.add(at::full({16}, 1.0));
  GatherScope scope(&queue, Keep::next);
  queue.acquire(0);
  if (communicator->rank() == 1) std::raise(SIGKILL);
  scope.finish();
}

TEST(C10dGatherer, AKilledRankIsNamedByThoseWhoWait) {
  Ranks ranks = start_parts("DISABLED_OneIsKilledInAScope", 3);
  const auto start = std::chrono::steady_clock::now();
  const auto ended = ranks.wait();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(40));
  EXPECT_EQ(ended[1].signal, SIGKILL);
  for (const int64_t rank : {0, 2}) {
    EXPECT_EQ(ended[rank].code, 1);
    EXPECT_THAT(ended[rank].out, HasSubstr("rank 1 ended or hangs"));
  }
}

}  // namespace
}  // namespace leash
