// What a decoded token may cost in operator calls and allocations: noticed without a clock.
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <vector>

#include "models/device/op_profile.h"
#include "rollout/engine.h"
#include "tests/support/tiny_model.h"

namespace leash {
namespace {

using testing::tiny_adapter;
using testing::tiny_decoder;
using testing::TinyOptions;

class AllocationCounter final : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void* /*pointer*/, int64_t size, size_t /*allocated*/, size_t /*reserved*/,
                         c10::Device /*device*/) override {
    if (size > 0) ++count;
  }
  bool memoryProfilingEnabled() const override { return true; }
  int64_t count = 0;
};

struct Cost {
  int64_t ops = 0;
  int64_t allocations = 0;
};

Cost cost_of(const RolloutEngine& engine, const Adapter* adapter, int64_t sequences,
             int64_t new_tokens) {
  std::vector<Prompt> prompts;
  for (int64_t i = 0; i < sequences; ++i) {
    prompts.push_back({.ids = {5, 6, 7 + i}, .sample = static_cast<uint64_t>(i)});
  }
  GenerationConfig config;
  config.max_new_tokens = new_tokens;
  config.min_new_tokens = new_tokens;
  const auto allocations = std::make_shared<AllocationCounter>();
  const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, allocations);
  OpProfile profile;
  (void)engine.generate(prompts, adapter, config);
  Cost cost{.allocations = allocations->count};
  for (const auto& [name, op] : profile.take()) cost.ops += op.calls;
  return cost;
}

// Of one step of the batch: the prompt's part and whatever is done once cancels out.
Cost cost_per_step(const RolloutEngine& engine, const Adapter* adapter, int64_t sequences) {
  const Cost few = cost_of(engine, adapter, sequences, 8);
  const Cost many = cost_of(engine, adapter, sequences, 40);
  return {.ops = (many.ops - few.ops) / 32,
          .allocations = (many.allocations - few.allocations) / 32};
}

TEST(DecodeCost, OperatorsAndAllocationsPerStep) {
  TinyOptions options;
  const auto two = tiny_decoder(at::kFloat, options);
  options.num_layers = 4;
  const auto four = tiny_decoder(at::kFloat, options);
  const Adapter adapter_two = tiny_adapter(*two), adapter_four = tiny_adapter(*four);
  const RolloutEngine engine_two(two, std::nullopt), engine_four(four, std::nullopt);

  const Cost small = cost_per_step(engine_two, &adapter_two, 1);
  const Cost large = cost_per_step(engine_four, &adapter_four, 1);
  const int64_t ops_per_layer = (large.ops - small.ops) / 2;
  const int64_t allocations_per_layer = (large.allocations - small.allocations) / 2;
  // With an adapter on all seven modules: 212 and 21 where our products are used (AVX-512), a few
  // more operators where LibTorch's product is.
  EXPECT_GT(allocations_per_layer, 0);  // else nothing is counted here
  EXPECT_LE(ops_per_layer, 245);
  EXPECT_LE(allocations_per_layer, 22);
  EXPECT_LE(small.ops - 2 * ops_per_layer, 30);  // of the rest: embedding, vocabulary, sampling
  EXPECT_LE(small.allocations - 2 * allocations_per_layer, 8);

  // A step of eight sequences is one step, not eight.
  const Cost batch = cost_per_step(engine_two, &adapter_two, 8);
  EXPECT_LE(batch.ops, small.ops + small.ops / 4);
  EXPECT_LE(batch.allocations, small.allocations + small.allocations / 4);
}

}  // namespace
}  // namespace leash
