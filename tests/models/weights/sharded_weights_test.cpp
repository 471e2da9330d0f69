// Frozen weights sharded between ranks that are threads of this process: what is computed with them
// is, bit for bit, what is computed with whole ones.
#include "models/weights/sharded_weights.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <chrono>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "models/device/device.h"
#include "models/errors.h"
#include "models/random/random.h"
#include "tests/support/gathering_ranks.h"
#include "tests/support/tensors.h"
#include "tests/support/tiny_model.h"

namespace leash {
namespace {

using Keep = GatherQueue::Keep;
using QueuePtr = std::shared_ptr<GatherQueue>;
using ::testing::HasSubstr;
using testing::run_gathering_ranks;
using testing::same_bits;
using testing::tiny_adapter;
using testing::tiny_checkpoint;
using testing::TinyOptions;

// What one training pass over some tokens gives.
struct Pass {
  at::Tensor hidden, logprobs;
  std::vector<at::Tensor> gradients{};
};

Pass run_pass(const Decoder& decoder, const Adapter& adapter, int64_t first_token, bool recompute) {
  const PackedTokens tokens = pack(std::vector<std::vector<int64_t>>{
      {first_token, 5, 9, 2, 7}, {first_token + 1, 3, 3}, {11, first_token, 20, 21, 30, 1}});
  const at::Tensor targets = at::arange(tokens.ids.size(0)).remainder(30);
  Pass pass;
  pass.hidden = decoder.forward(tokens, adapter, {.recompute_blocks = recompute});
  pass.logprobs = decoder.token_scores(pass.hidden, targets, 0.7, adapter).logprobs;
  pass.gradients =
      torch::autograd::grad({pass.logprobs.to(at::kDouble).sum()}, adapter.parameters());
  return pass;
}

void expect_same(const Pass& actual, const Pass& expected) {
  EXPECT_TRUE(same_bits(actual.hidden.detach(), expected.hidden.detach()));
  EXPECT_TRUE(same_bits(actual.logprobs.detach(), expected.logprobs.detach()));
  ASSERT_EQ(actual.gradients.size(), expected.gradients.size());
  for (size_t i = 0; i < actual.gradients.size(); ++i) {
    EXPECT_TRUE(same_bits(actual.gradients[i], expected.gradients[i])) << i;
  }
}

struct ShardedCase {
  std::string name;
  at::ScalarType dtype = at::kFloat;
  TinyOptions model{};
  bool recompute = false;
  LoraConfig lora = {.r = 4, .lora_alpha = 8, .target_modules = "all-linear"};
};

std::vector<ShardedCase> cases() {
  return {{.name = "plain"},
          {.name = "own head and biases",
           .model = {.num_layers = 3, .tie_word_embeddings = false, .qkv_bias = true}},
          {.name = "computed again", .recompute = true},
          {.name = "bfloat16", .dtype = at::kBFloat16},
          {.name = "float16", .dtype = at::kHalf},
          {.name = "float64", .dtype = at::kDouble, .model = {.hidden_size = 40}},
          {.name = "trained copies and a trained head",
           .model = {.tie_word_embeddings = false},
           .lora = {.r = 4,
                    .lora_alpha = 8,
                    .target_modules = std::vector<std::string>{"q_proj", "down_proj"},
                    .modules_to_save = {"lm_head", "up_proj", "norm"}}}};
}

std::shared_ptr<const Decoder> load(const ShardedCase& each, const QueuePtr& queue) {
  return Decoder::load(tiny_checkpoint(each.model), {.dtype = each.dtype, .gathers = queue});
}

// Trained copies start at the base's values, which are gathered for it.
Adapter adapter_for(const Decoder& decoder, const LoraConfig& config) {
  Adapter adapter = Adapter::create(config, decoder.modules(), 3, [&](int64_t module, bool bias) {
    return decoder.base_value(module, bias);
  });
  if (decoder.dtype() == at::kDouble) adapter = adapter.to(at::kDouble);
  uint64_t index = 0;
  for (const at::Tensor& parameter : adapter.parameters()) {
    parameter.detach().add_(
        normal_tensor({5, Purpose::noise, ++index}, parameter.sizes().vec(), 0, 0.1)
            .to(parameter.scalar_type()));
  }
  return adapter;
}

TEST(ThreadsShardedWeights, GiveTheBitsOfWholeOnesForwardAndBackward) {
  set_threads(1);
  for (const ShardedCase& each : cases()) {
    const auto whole = load(each, nullptr);
    const Pass expected = run_pass(*whole, adapter_for(*whole, each.lora), 4, each.recompute);
    for (const int64_t size : {1, 2, 3, 4}) {
      SCOPED_TRACE(each.name + " on " + std::to_string(size));
      run_gathering_ranks(size, [&](int64_t, const QueuePtr& queue) {
        set_threads(1);
        const auto decoder = load(each, queue);
        const Adapter adapter = adapter_for(*decoder, each.lora);
        for (const Keep keep : {Keep::next, Keep::all}) {
          GatherScope scope(queue.get(), keep);
          expect_same(run_pass(*decoder, adapter, 4, each.recompute), expected);
          scope.finish();
          EXPECT_EQ(queue->held_bytes(), 0);
        }
      });
    }
  }
}

TEST(ThreadsShardedWeights, EveryRankHoldsItsPartAlone) {
  const auto whole = load({.name = ""}, nullptr);
  for (const int64_t size : {1, 2, 4}) {
    run_gathering_ranks(size, [&](int64_t, const QueuePtr& queue) {
      const auto decoder = load({.name = ""}, queue);
      const double share =
          static_cast<double>(decoder->weight_bytes()) / static_cast<double>(whole->weight_bytes());
      EXPECT_NEAR(share, 1.0 / static_cast<double>(size), 0.02);
      EXPECT_EQ(decoder->num_parameters(), whole->num_parameters());
      EXPECT_EQ(decoder->weights_digest(), whole->weights_digest());
    });
  }
}

// Rank 0 has nothing to compute, rank 3 most; the last passes are without gradients.
TEST(ThreadsShardedWeights, RanksThatAreDoneJoinTheOthers) {
  set_threads(1);
  const auto whole = load({.name = ""}, nullptr);
  const Adapter whole_adapter = tiny_adapter(*whole);
  std::vector<Pass> expected;
  for (int64_t i = 0; i < 4; ++i) expected.push_back(run_pass(*whole, whole_adapter, 4 + i, false));
  for (const Keep keep : {Keep::next, Keep::all}) {
    run_gathering_ranks(4, [&](int64_t rank, const QueuePtr& queue) {
      set_threads(1);
      const auto decoder = load({.name = ""}, queue);
      const Adapter adapter = tiny_adapter(*decoder);
      for (int step = 0; step < 3; ++step) {
        const auto before = queue->counts();
        GatherScope scope(queue.get(), keep);
        for (int64_t i = 0; i < (rank + step) % 4; ++i) {
          expect_same(run_pass(*decoder, adapter, 4 + i, false), expected[static_cast<size_t>(i)]);
        }
        if (rank % 2 == 1) {
          const c10::AutoGradMode no_grad(false);
          const at::Tensor hidden = decoder->forward(pack_one({4, 5, 9, 2, 7}), adapter);
          EXPECT_TRUE(same_bits(hidden, whole->forward(pack_one({4, 5, 9, 2, 7}), whole_adapter)));
        }
        scope.finish();
        const auto after = queue->counts();
        const bool computes = (rank + step) % 4 > 0 || rank % 2 == 1;
        EXPECT_GT(after.gathers, before.gathers);
        if (!computes) {
          EXPECT_EQ(after.gathers - before.gathers, after.joined - before.joined);
        }
      }
    });
  }
}

// The embedding, two blocks, the head (which is the embedding), and back: six uses. Where it is
// known what comes next, the head's neighbour stays for the way back, and the first block for the
// next pass.
TEST(ThreadsShardedWeights, RanksInStepGatherEachUnitOnceAPass) {
  for (const auto& [keep, gathers] : std::vector<std::pair<Keep, std::vector<int64_t>>>{
           {Keep::next, {6 + 4, 5 + 4}}, {Keep::all, {3, 3}}}) {
    run_gathering_ranks(2, [&, keep = keep, gathers = gathers](int64_t, const QueuePtr& queue) {
      const auto decoder = load({.name = ""}, queue);
      const Adapter adapter = tiny_adapter(*decoder);
      for (const int64_t expected : gathers) {
        const auto before = queue->counts();
        GatherScope scope(queue.get(), keep);
        run_pass(*decoder, adapter, 4, false);
        run_pass(*decoder, adapter, 6, false);
        scope.finish();
        const auto after = queue->counts();
        EXPECT_EQ(after.gathers - before.gathers, expected);
        EXPECT_EQ(after.joined, 0);
      }
    });
  }
}

// A graph that outlives the scope keeps no weight: its backward pass gathers again.
TEST(ThreadsShardedWeights, AGraphKeepsNoWeights) {
  run_gathering_ranks(2, [&](int64_t, const QueuePtr& queue) {
    const auto decoder = load({.name = ""}, queue);
    const Adapter adapter = tiny_adapter(*decoder);
    GatherScope scope(queue.get(), Keep::next);
    const at::Tensor sum = decoder->forward(pack_one({4, 5, 9}), adapter).sum();
    scope.finish();
    EXPECT_EQ(queue->held_bytes(), 0);
    const int64_t before = queue->counts().gathers;
    torch::autograd::backward({sum}, {});
    EXPECT_EQ(queue->counts().gathers, before + 2);
  });
}

TEST(ThreadsGatherQueue, FetchesWhatFollowedLastTime) {
  run_gathering_ranks(2, [&](int64_t rank, const QueuePtr& queue) {
    for (int64_t unit = 0; unit < 3; ++unit) queue->add(at::full({8}, 10.0 * unit + rank));
    const auto gathers_reach = [&](int64_t count) {
      for (int i = 0; i < 2000 && queue->counts().gathers < count; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
      return queue->counts().gathers;
    };
    GatherScope scope(queue.get(), Keep::next);
    for (const int64_t unit : {0, 1, 2}) {
      const at::Tensor whole = queue->acquire(unit);
      EXPECT_EQ(whole[0].item<double>(), 10.0 * static_cast<double>(unit));
      EXPECT_EQ(whole[8].item<double>(), 10.0 * static_cast<double>(unit) + 1);
    }
    EXPECT_EQ(queue->counts().gathers, 3);
    queue->begin_pass();
    queue->acquire(0);
    EXPECT_EQ(gathers_reach(5), 5);  // 0, and 1 ahead
    queue->acquire(1);
    EXPECT_EQ(gathers_reach(6), 6);  // 2 ahead
    EXPECT_EQ(queue->held_bytes(), 2 * 16 * 4);
    queue->acquire(2);
    scope.finish();
    EXPECT_EQ(queue->counts().gathers, 6);
  });
}

// Lanes of a rank ask side by side, on each rank in another order.
TEST(ThreadsGatherQueue, ServesSeveralThreadsOfARank) {
  constexpr int64_t kUnits = 7;
  for (const Keep keep : {Keep::all, Keep::next}) {
    run_gathering_ranks(3, [&](int64_t rank, const QueuePtr& queue) {
      for (int64_t unit = 0; unit < kUnits; ++unit) {
        queue->add(at::full({4}, static_cast<double>(unit * 10 + rank)));
      }
      for (int round = 0; round < 5; ++round) {
        GatherScope scope(queue.get(), keep);
        std::vector<std::thread> lanes;
        for (int64_t lane = 0; lane < 3; ++lane) {
          lanes.emplace_back([&, lane] {
            for (int64_t i = 0; i < 2 * kUnits; ++i) {
              const int64_t unit = ((lane + 1) * i + rank) % kUnits;
              const at::Tensor whole = queue->acquire(unit);
              for (int64_t part = 0; part < 3; ++part) {
                EXPECT_EQ(whole[4 * part + 1].item<double>(),
                          static_cast<double>(unit * 10 + part));
              }
            }
          });
        }
        for (std::thread& lane : lanes) lane.join();
        scope.finish();
      }
      EXPECT_EQ(queue->held_bytes(), 0);
    });
  }
}

TEST(ThreadsGatherQueue, ARankThatFailsEndsTheOthers) {
  EXPECT_THROW(run_gathering_ranks(3,
                                   [&](int64_t rank, const QueuePtr& queue) {
                                     queue->add(at::full({4}, 1.0));
                                     queue->enter(Keep::next);
                                     if (rank == 1) throw std::logic_error("of this rank");
                                     if (rank == 2) queue->acquire(0);
                                     queue->leave();
                                   }),
               std::exception);
}

class FailingGatherer final : public WeightGatherer {
 public:
  int64_t rank() const override { return 0; }
  int64_t size() const override { return 2; }
  std::vector<int64_t> exchange(int64_t own) override { return {own, own}; }
  at::Tensor gather(const at::Tensor&) override { throw std::runtime_error("the cable is cut"); }
  void cancel() noexcept override {}
};

TEST(ThreadsGatherQueue, WhatGoesWrongReachesWhoWaits) {
  GatherQueue queue(std::make_unique<FailingGatherer>());
  queue.add(at::full({4}, 1.0));
  queue.enter(Keep::next);
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT([&] { queue.acquire(0); },
                ::testing::ThrowsMessage<std::runtime_error>(HasSubstr("the cable is cut")));
  }
  EXPECT_THROW(queue.leave(), std::runtime_error);
}

TEST(ShardedWeights, QuantisedOnesAreNotSharded) {
  const auto queue = std::make_shared<GatherQueue>(lone_gatherer());
  EXPECT_THROW(Decoder::load(tiny_checkpoint(), {.quantize = Quantize::nf4, .gathers = queue}),
               ConfigError);
}

}  // namespace
}  // namespace leash
