// What passes through the decoder allocate: by hand, and as LibTorch's allocator counts it.
#include "rl/plan/activations.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/ones_like.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "models/vocabulary/vocabulary_chunks.h"
#include "rollout/kv_cache.h"
#include "tests/support/memory_count.h"
#include "tests/support/tiny_families.h"
#include "tests/support/tiny_model.h"

namespace leash {
namespace {

using testing::MemoryCount;
using testing::tiny_checkpoint;
using testing::tiny_decoder;
using testing::TinyOptions;

LoraConfig query_and_value() { return {.r = 8, .lora_alpha = 8}; }
LoraConfig everywhere() { return {.r = 4, .lora_alpha = 8, .target_modules = "all-linear"}; }

// Hidden size 32, MLP 64, 4 query heads and 2 key heads of 8. Each number of a row takes 4 bytes.
//   block 0: input of q and v (32), two x Aᵀ (8 + 8), q (32), k (16), v (16), result (32), 4 sums,
//            input of the second norm and 1 / rms (33), [gate, up] (128): 309
//   block 1: the same and the first norm's 33: 342;  final norm: 33
TEST(PlanActivations, KeptByHand) {
  const ModelFacts model = facts_of(tiny_checkpoint());
  const AdapterFacts adapter = adapter_facts(query_and_value(), model.modules);
  const PassShape pass{.rows = 10};
  EXPECT_EQ(kept_bytes(model, at::kFloat, &adapter, pass), 4 * 10 * (309 + 342 + 33));
  PassShape recomputed = pass;
  recomputed.recompute = true;
  EXPECT_EQ(kept_bytes(model, at::kFloat, &adapter, recomputed), 4 * 10 * (2 * 32 + 33));
  EXPECT_EQ(kept_bytes(model, at::kFloat, nullptr, pass), 0);
}

// dL/dhidden (32), dL/dy (64) and dL/d[gate, up] (128); where down_proj trains its input (64) went.
TEST(PlanActivations, BackwardScratchByHand) {
  const ModelFacts model = facts_of(tiny_checkpoint());
  const AdapterFacts few = adapter_facts(query_and_value(), model.modules);
  const AdapterFacts all = adapter_facts(everywhere(), model.modules);
  const PassShape pass{.rows = 10};
  EXPECT_EQ(backward_scratch_bytes(model, at::kFloat, &few, pass), 4 * 10 * (32 + 3 * 64));
  EXPECT_EQ(backward_scratch_bytes(model, at::kFloat, &all, pass), 4 * 10 * (32 + 2 * 64));
  PassShape recomputed = pass;
  recomputed.recompute = true;
  EXPECT_EQ(backward_scratch_bytes(model, at::kFloat, &few, recomputed),
            4 * 10 * (32 + 3 * 64) + 4 * 10 * 342);
}

struct Case {
  const char* name;
  at::ScalarType dtype;
  LoraConfig lora;
  bool recompute = false;
  bool prefixes = false;
};

LoraConfig upper_layer() {
  LoraConfig config = query_and_value();
  config.layers_to_transform = {1};
  return config;
}

// Nine texts of 32 tokens; with prefixes the second and third of each three continue the first.
PackedTokens tokens_of(bool prefixes) {
  std::vector<std::vector<int64_t>> texts(9, std::vector<int64_t>(32, 5));
  PackedTokens tokens = pack(texts);
  if (prefixes) {
    for (int64_t i = 0; i < 9; ++i) tokens.prefixes.push_back(i % 3 == 0 ? -1 : i / 3 * 3);
  }
  return tokens;
}

class PlanMeasured : public ::testing::TestWithParam<Case> {};

TEST_P(PlanMeasured, KeptAndPeakOfTheBackwardPass) {
  const Case& with = GetParam();
  const TinyOptions options{.hidden_size = 64, .head_dim = 16, .max_positions = 64};
  const auto decoder = tiny_decoder(with.dtype, options);
  const ModelFacts model = facts_of(tiny_checkpoint(options));
  Adapter adapter = Adapter::create(with.lora, decoder->modules(), 3);
  if (with.dtype == at::kDouble) adapter = adapter.to(at::kDouble);
  const AdapterFacts facts = adapter_facts(with.lora, model.modules);
  const PackedTokens tokens = tokens_of(with.prefixes);
  const PassShape pass{.rows = 288, .recompute = with.recompute};
  (void)decoder->forward(tokens);  // makes the table of angles
  MemoryCount count;
  const at::Tensor hidden = decoder->forward(tokens, adapter, {.recompute_blocks = with.recompute});
  const auto kept = static_cast<double>(count.live()) - static_cast<double>(hidden.nbytes());
  const auto planned = static_cast<double>(kept_bytes(model, decoder->dtype(), &facts, pass));
  EXPECT_NEAR(planned / kept, 1.0, 0.03) << planned << " planned, " << kept << " kept";

  const at::Tensor gradient = at::ones_like(hidden.detach());
  const int64_t before = count.live();
  count.reset_peak();
  torch::autograd::backward({hidden}, {gradient});
  const auto scratch = static_cast<double>(count.peak() - before);
  const auto planned_scratch =
      static_cast<double>(backward_scratch_bytes(model, decoder->dtype(), &facts, pass));
  // Scratch is small beside what is kept: half of it more or less is a few per cent of the sum.
  EXPECT_NEAR((planned + planned_scratch) / (kept + scratch), 1.0, 0.12)
      << planned_scratch << " planned, " << scratch << " measured";
}

INSTANTIATE_TEST_SUITE_P(Passes, PlanMeasured,
                         ::testing::Values(Case{"QueryAndValue", at::kFloat, query_and_value()},
                                           Case{"AllLinear", at::kFloat, everywhere()},
                                           Case{"UpperLayer", at::kFloat, upper_layer()},
                                           Case{"Recomputed", at::kFloat, everywhere(), true},
                                           Case{"Prefixes", at::kFloat, everywhere(), false, true},
                                           Case{"Double", at::kDouble, everywhere()},
                                           Case{"Bfloat16", at::kBFloat16, everywhere()},
                                           Case{"Float16", at::kHalf, everywhere()}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(PlanActivations, ForwardScratchIsWhatAForwardPassAllocates) {
  const TinyOptions options{.hidden_size = 64, .head_dim = 16, .max_positions = 64};
  const auto decoder = tiny_decoder(at::kFloat, options);
  const ModelFacts model = facts_of(tiny_checkpoint(options));
  const PackedTokens tokens = tokens_of(false);
  const c10::AutoGradMode no_grad(false);
  (void)decoder->forward(tokens);
  const MemoryCount count;
  (void)decoder->forward(tokens);
  const auto planned = static_cast<double>(forward_scratch_bytes(model, at::kFloat, 288));
  EXPECT_NEAR(planned / static_cast<double>(count.peak()), 1.0, 0.05)
      << planned << " planned, " << count.peak() << " measured";
}

// Tiny models: what autograd keeps of small operations counts for more than in real ones.
TEST(PlanActivations, EveryShapeOfADecoderKeepsAboutWhatIsPlanned) {
  for (const auto& [name, checkpoint] : testing::tiny_families()) {
    const auto decoder = Decoder::load(checkpoint);
    const ModelFacts model = facts_of(checkpoint);
    const Adapter adapter = Adapter::create(everywhere(), decoder->modules(), 3);
    const AdapterFacts facts = adapter_facts(everywhere(), model.modules);
    const PackedTokens tokens = tokens_of(false);
    (void)decoder->forward(tokens);
    const MemoryCount count;
    const at::Tensor hidden = decoder->forward(tokens, adapter);
    const auto kept = static_cast<double>(count.live()) - static_cast<double>(hidden.nbytes());
    const auto planned = static_cast<double>(kept_bytes(model, at::kFloat, &facts, {.rows = 288}));
    EXPECT_NEAR(planned / kept, 1.0, 0.15) << name;
  }
}

TEST(PlanActivations, CacheIsTheCache) {
  const ModelFacts model = facts_of(tiny_checkpoint());
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const KvCache cache(model.config, 3, 17, dtype);
    EXPECT_EQ(cache_bytes(model, dtype, 3, 17), cache.bytes());
  }
}

TEST(PlanActivations, ChunksOfLogitsAreTheDecoders) {
  for (const int64_t vocabulary : {96, 49152, 128256, 4000000}) {
    LinearGroup head;
    head.weight = dense_weight(at::empty({vocabulary, 1}));
    EXPECT_EQ(logits_chunk_rows(vocabulary), chunk_rows(head));
  }
}

}  // namespace
}  // namespace leash
