// Frozen weights sharded between ranks on a device that is not the CPU: the bits of whole weights
// there, and what is asked of streams, so that a GPU, which works behind the host, reads nothing
// before it is there and nothing that was given away.
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <c10/core/StreamGuard.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "models/device/device.h"
#include "models/weights/gather_queue.h"
#include "tests/support/gathering_ranks.h"
#include "tests/support/pretend_device.h"
#include "tests/support/tensors.h"
#include "tests/support/tiny_model.h"

namespace leash {
namespace {

using Keep = GatherQueue::Keep;
using Kind = testing::PretendStreams::Kind;
using Call = testing::PretendStreams::Call;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::pretend_device;
using testing::pretend_stream;
using testing::PretendStreams;
using testing::run_gathering_ranks;
using testing::same_bits;
using testing::tiny_checkpoint;

// Hidden states, log-probs and with `backward` gradients of one training pass.
std::vector<at::Tensor> run_pass(const Decoder& decoder, bool recompute, bool backward) {
  const Adapter adapter =
      testing::tiny_adapter(*testing::tiny_decoder(), 3, 0.3).to(decoder.device());
  const PackedTokens tokens =
      pack(std::vector<std::vector<int64_t>>{{4, 5, 9, 2, 7}, {11, 20, 21, 30, 1}});
  const at::Tensor targets = at::arange(10);
  const at::Tensor hidden = decoder.forward(tokens, adapter, {.recompute_blocks = recompute});
  const at::Tensor logprobs = decoder.token_scores(hidden, targets, 0.7, adapter).logprobs;
  std::vector<at::Tensor> results = {hidden.detach(), logprobs.detach()};
  if (backward) {
    for (const at::Tensor& gradient :
         torch::autograd::grad({logprobs.sum()}, adapter.parameters())) {
      results.push_back(gradient);
    }
  }
  for (at::Tensor& result : results) {
    EXPECT_EQ(result.device(), decoder.device());
    result = result.cpu();
  }
  return results;
}

// A process has one thread for a device's backward passes. Ranks that are threads of one process
// would wait for each other on it, so several of them only go forward here; see
// tests/rl/training/sharded_devices_test.cpp for processes.
TEST(ThreadsGatherStreams, ShardedWeightsGiveTheBitsOfWholeOnes) {
  set_threads(1);
  const auto whole = Decoder::load(tiny_checkpoint(), {.device = pretend_device()});
  EXPECT_FALSE(whole->sharded());
  for (const bool recompute : {false, true}) {
    for (const int64_t size : {1, 2, 3}) {
      const auto expected = run_pass(*whole, recompute, size == 1);
      run_gathering_ranks(size, [&](int64_t, const std::shared_ptr<GatherQueue>& queue) {
        set_threads(1);
        const auto decoder =
            Decoder::load(tiny_checkpoint(), {.device = pretend_device(), .gathers = queue});
        EXPECT_TRUE(decoder->sharded());
        EXPECT_EQ(decoder->device(), pretend_device());
        EXPECT_EQ(decoder->weights_digest(), whole->weights_digest());
        for (const Keep keep : {Keep::next, Keep::all}) {
          GatherScope scope(queue.get(), keep);
          const auto results = run_pass(*decoder, recompute, size == 1);
          scope.finish();
          ASSERT_EQ(results.size(), expected.size());
          for (size_t i = 0; i < results.size(); ++i) {
            if (i < 2) {
              EXPECT_TRUE(same_bits(results[i], expected[i])) << i;
            } else {  // LibTorch's products on two threads: their bits depend on alignment
              EXPECT_TRUE(results[i].allclose(expected[i], /*rtol=*/1e-5, /*atol=*/1e-5)) << i;
            }
          }
        }
      });
    }
  }
}

// Nothing but this rank's part is ever on the device: sharded weights are joined on the host.
TEST(ThreadsGatherStreams, LoadingTakesThisRanksPartOfTheDevice) {
  const int64_t before = testing::pretend_memory();
  const auto whole = Decoder::load(tiny_checkpoint(), {.device = pretend_device()});
  const int64_t all = testing::pretend_memory() - before;
  testing::limit_pretend_memory(testing::pretend_memory() + all / 2);
  run_gathering_ranks(4, [&](int64_t rank, const std::shared_ptr<GatherQueue>& queue) {
    if (rank != 0) return;
    const auto decoder =
        Decoder::load(tiny_checkpoint(), {.device = pretend_device(), .gathers = queue});
    EXPECT_LT(decoder->weight_bytes(), all / 3);
  });
  testing::limit_pretend_memory(0);
}

// A rank of two whose other one has the same parts; notes on which stream it gathers.
class NotingGatherer final : public WeightGatherer {
 public:
  explicit NotingGatherer(PretendStreams& streams) : streams_(streams) {}
  int64_t rank() const override { return 0; }
  int64_t size() const override { return 2; }
  std::vector<int64_t> exchange(int64_t own) override { return {own, own}; }
  at::Tensor gather(const at::Tensor& own) override {
    streams_.note();
    return at::cat({own, own});
  }
  void cancel() noexcept override {}

 private:
  PretendStreams& streams_;
};

class ThreadsUnitsInTurn : public ::testing::Test {
 protected:
  ThreadsUnitsInTurn() {
    for (int64_t unit = 0; unit < 3; ++unit) {
      queue.add(at::full({16}, static_cast<double>(unit)).to(pretend_device()));
    }
    streams.clear();
    queue.enter(Keep::next);
  }

  // As a lane does, or a backward pass that follows it.
  const void* acquire(int64_t unit, int64_t stream) {
    const c10::StreamGuard guard(pretend_stream(stream));
    const at::Tensor whole = queue.acquire(unit);
    EXPECT_EQ(whole.cpu()[31].item<double>(), static_cast<double>(unit));
    return whole.const_data_ptr();
  }

  int64_t count(Kind kind) const { return std::ranges::count(streams.calls(), kind, &Call::kind); }
  bool comes(Kind kind, int64_t number) const {
    for (int i = 0; i < 2000 && count(kind) < number; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return count(kind) >= number;
  }

  PretendStreams streams{};
  GatherQueue queue{std::make_unique<NotingGatherer>(streams)};
};

// The part may still be on its way to the device, on the stream of who loads it.
TEST_F(ThreadsUnitsInTurn, APartIsThereBeforeTheOtherThreadReadsIt) {
  const c10::StreamGuard guard(pretend_stream(5));
  const at::Tensor part = at::full({16}, 3.0).to(pretend_device());
  queue.add(part);
  EXPECT_THAT(streams.calls(), ElementsAre(Call{.kind = Kind::finished, .stream = 5}));
}

TEST_F(ThreadsUnitsInTurn, AUnitIsWholeBeforeItIsHandedOutAndKeptForWhoReadsIt) {
  const void* first = acquire(0, 7);
  const auto calls = streams.calls();
  ASSERT_EQ(calls.size(), 3u);
  const int64_t own = calls[0].stream;  // of the queue's thread
  EXPECT_GE(own, 1000);
  EXPECT_THAT(calls, ElementsAre(Call{.kind = Kind::noted, .stream = own},
                                 Call{.kind = Kind::finished, .stream = own},
                                 Call{.kind = Kind::kept, .stream = 7, .memory = first}));
  streams.clear();
  EXPECT_EQ(acquire(0, 7), first);
  EXPECT_THAT(streams.calls(), IsEmpty());  // said once
  acquire(0, 8);
  EXPECT_THAT(streams.calls(), ElementsAre(Call{.kind = Kind::kept, .stream = 8, .memory = first}));
  streams.clear();
  acquire(1, 7);
  EXPECT_EQ(streams.calls()[0].kind, Kind::marked);
  EXPECT_EQ(count(Kind::noted), 1);
  for (const Call& call : streams.calls()) {
    if (call.kind != Kind::noted) continue;
    EXPECT_EQ(call.stream, own);  // the same every time
  }
}

// The host has given all reads of unit 0 to two streams and goes on; they are not through with it.
TEST_F(ThreadsUnitsInTurn, WhatWasDroppedIsReadToTheEndBeforeAnotherUnitIsGathered) {
  acquire(0, 7);
  acquire(0, 8);
  streams.clear();
  streams.hold_marks();
  std::thread lane([&] { acquire(1, 7); });
  EXPECT_TRUE(comes(Kind::mark_waits, 1));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(count(Kind::noted), 0);
  streams.let_go();
  lane.join();
  EXPECT_EQ(count(Kind::noted), 1);
  const auto calls = streams.calls();
  ASSERT_GE(calls.size(), 5u);
  EXPECT_THAT(
      std::vector(calls.begin(), calls.begin() + 5),
      ElementsAre(Call{.kind = Kind::marked, .stream = 7}, Call{.kind = Kind::marked, .stream = 8},
                  Call{.kind = Kind::mark_waits, .stream = 7},
                  Call{.kind = Kind::mark_waits, .stream = 8},
                  Call{.kind = Kind::noted, .stream = calls[4].stream}));
}

TEST_F(ThreadsUnitsInTurn, LeavingDoesNotForgetWhatIsStillRead) {
  acquire(0, 7);
  acquire(1, 8);
  streams.clear();
  queue.leave();
  EXPECT_EQ(queue.held_bytes(), 0);
  EXPECT_THAT(streams.calls(), ElementsAre(Call{.kind = Kind::marked, .stream = 8}));
  streams.clear();
  acquire(0, 7);
  EXPECT_EQ(streams.calls()[0], (Call{.kind = Kind::mark_waits, .stream = 8}));
}

// Two collectives of one rank are never under way side by side where nobody entered: there a rank
// talks to the others in other ways between its uses.
TEST_F(ThreadsUnitsInTurn, NothingIsFetchedAheadOutside) {
  queue.leave();
  for (int round = 0; round < 2; ++round) {
    queue.begin_pass();
    for (const int64_t unit : {0, 1, 2}) acquire(unit, 7);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(queue.counts().gathers, 6);
  queue.enter(Keep::next);
  queue.begin_pass();
  acquire(0, 7);
  for (int i = 0; i < 2000 && queue.counts().gathers < 8; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(queue.counts().gathers, 8);  // 0, and 1 ahead
}

}  // namespace
}  // namespace leash
