// Frozen weights sharded between ranks on one GPU: ranks that are threads and gather through its
// memory, two processes over Gloo, and NCCL with one rank.
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "models/weights/gather_queue.h"
#include "rl/distributed/c10d_communicator.h"
#include "rollout/engine.h"
#include "rollout/lanes.h"
#include "tests/support/cuda_device.h"
#include "tests/support/gathering_ranks.h"
#include "tests/support/rank_parts.h"
#include "tests/support/tensors.h"
#include "tests/support/tiny_model.h"

namespace leash {
namespace {

using Keep = GatherQueue::Keep;
using QueuePtr = std::shared_ptr<GatherQueue>;
using testing::all_close;
using testing::kGpu;
using testing::tiny_checkpoint;

std::shared_ptr<const Decoder> load(const QueuePtr& queue) {
  return Decoder::load(tiny_checkpoint(), {.device = kGpu, .gathers = queue});
}
Adapter adapter_there() { return testing::tiny_adapter(*testing::tiny_decoder()).to(kGpu); }

// Log-probs and with `backward` gradients of one training pass. A process has one thread for a
// GPU's backward passes, on which ranks that are threads of one process would wait for each other.
std::vector<at::Tensor> run_pass(const Decoder& decoder, const Adapter& adapter, bool backward) {
  const PackedTokens tokens =
      pack(std::vector<std::vector<int64_t>>{{4, 5, 9, 2, 7}, {11, 20, 21, 30, 1}});
  const at::Tensor hidden = decoder.forward(tokens, adapter, {.recompute_blocks = true});
  const at::Tensor logprobs =
      decoder.token_scores(hidden, tokens.ids.flip(0), 0.7, adapter).logprobs;
  std::vector<at::Tensor> results = {logprobs.detach()};
  if (!backward) return results;
  for (const at::Tensor& gradient : torch::autograd::grad({logprobs.sum()}, adapter.parameters())) {
    results.push_back(gradient);
  }
  return results;
}

// Whole and sharded weights may lie differently, for which cuBLAS may choose other kernels.
void expect_near(const std::vector<at::Tensor>& actual, const std::vector<at::Tensor>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    const double scale = expected[i].abs().max().item<double>();
    EXPECT_TRUE(all_close(actual[i].cpu(), expected[i].cpu(), 1e-4, 1e-4 * scale)) << i;
  }
}

void expect_whole_results(const QueuePtr& queue, bool backward = true) {
  const auto whole = load(nullptr), sharded = load(queue);
  EXPECT_EQ(sharded->weights_digest(), whole->weights_digest());
  const Adapter adapter = adapter_there();
  const auto expected = run_pass(*whole, adapter, backward);
  for (int round = 0; round < 10; ++round) {
    GatherScope scope(queue.get(), round % 2 == 0 ? Keep::next : Keep::all);
    const auto results = run_pass(*sharded, adapter, backward);
    scope.finish();
    expect_near(results, expected);
  }
  std::vector<Prompt> prompts;
  for (uint64_t i = 0; i < 9; ++i) prompts.push_back({{5, 9, static_cast<int64_t>(i)}, i});
  GenerationConfig config;
  config.sampling.temperature = 0.0;
  config.max_new_tokens = 12;
  config.max_batch = 4;
  for (const Keep keep : {Keep::all, Keep::next, Keep::all}) {
    GatherScope scope(queue.get(), keep);
    const auto answers = RolloutEngine(sharded, std::nullopt).generate(prompts, &adapter, config);
    scope.finish();
    const auto plain = RolloutEngine(whole, std::nullopt).generate(prompts, &adapter, config);
    for (size_t i = 0; i < plain.size(); ++i) {
      ASSERT_EQ(answers[i].logprobs.size(), plain[i].logprobs.size());
      for (size_t k = 0; k < plain[i].logprobs.size(); ++k) {
        EXPECT_NEAR(answers[i].logprobs[k], plain[i].logprobs[k], 1e-3);
      }
    }
  }
}

TEST(CudaSharded, ShardedWeightsGiveWhatWholeOnesGive) {
  LEASH_NEEDS_GPU();
  for (const int64_t size : {1, 2}) {
    testing::run_gathering_ranks(
        size, [size](int64_t, const QueuePtr& queue) { expect_whole_results(queue, size == 1); });
  }
}

// The host drops units long before the GPU has read them, and gathers others meanwhile. 64 MB each,
// on two lanes of each rank.
TEST(CudaSharded, UnitsAreReadToTheEndWhateverIsGatheredMeanwhile) {
  LEASH_NEEDS_GPU();
  constexpr int64_t kSide = 4096, kUnits = 6;
  testing::run_gathering_ranks(2, [](int64_t, const QueuePtr& queue) {
    for (int64_t unit = 0; unit < kUnits; ++unit) {
      queue->add(at::full({kSide * kSide / 2}, static_cast<double>(unit + 1),
                          at::TensorOptions(kGpu).dtype(at::kFloat)));
    }
    Lanes lanes({}, std::nullopt, 0,
                [](Role role) { return device_stream(kGpu, role == Role::actor); });
    GatherScope scope(queue.get(), Keep::next);
    for (const Role role : {Role::actor, Role::reward, Role::actor}) {
      auto sums = lanes[role].run([&] {
        const at::Tensor x = at::ones({512, kSide}, at::TensorOptions(kGpu));
        std::vector<at::Tensor> all;
        for (int64_t unit = 0; unit < kUnits; ++unit) {
          const at::Tensor whole = queue->acquire(unit).view({kSide, kSide});
          at::Tensor sum = x.matmul(whole);
          for (int i = 0; i < 8; ++i) sum = sum.add(x.matmul(whole));
          all.push_back(sum.mean());
        }
        return at::stack(all);
      });
      const at::Tensor means = sums.get().cpu();
      for (int64_t unit = 0; unit < kUnits; ++unit) {
        EXPECT_NEAR(means[unit].item<double>(), 9.0 * kSide * static_cast<double>(unit + 1), 1.0);
      }
    }
    scope.finish();
  });
}

TEST(RankPart, DISABLED_ShardedOverGloo) {
  const auto communicator = testing::connect();
  communicator->shard_weights();
  EXPECT_TRUE(communicator->sums_beside_gathers());
  expect_whole_results(communicator->gathers());
  EXPECT_GT(communicator->gathers()->counts().bytes, 0);
  communicator->barrier();
}

TEST(CudaSharded, TwoProcessesOnOneGpuOverGloo) {
  LEASH_NEEDS_GPU();
  testing::expect_all_pass(testing::start_parts("DISABLED_ShardedOverGloo", 2));
}

#ifdef LEASH_NCCL
TEST(CudaSharded, NcclWithOneRank) {
  LEASH_NEEDS_GPU();
  const Launch launch{.address = "127.0.0.1", .port = testing::free_port()};
  const auto communicator =
      meet(CommunicationBackend::nccl, launch, /*meeting_seconds=*/60, /*timeout_seconds=*/60);
  EXPECT_TRUE(communicator->sums_beside_gathers());
  communicator->shard_weights();
  EXPECT_FALSE(communicator->sums_beside_gathers());
  expect_whole_results(communicator->gathers());
}
#endif

}  // namespace
}  // namespace leash
