// What holds for decoders of every shape, whatever their numbers are (those are compared with
// transformers in families_golden_test.cpp).
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <mutex>

#include "models/decoder/decoder.h"
#include "models/decoder/layer_attention.h"
#include "models/decoder/packed_texts.h"
#include "models/decoder/score_head.h"
#include "models/errors.h"
#include "models/families/decoder_modules.h"
#include "models/random/random.h"
#include "tests/support/gathering_ranks.h"
#include "tests/support/tensors.h"
#include "tests/support/tiny_families.h"
#include "tests/support/tiny_model.h"

namespace leash {
namespace {

using testing::all_close;
using testing::same_bits;
using testing::tiny_adapter;
using testing::tiny_families;

const std::vector<std::vector<int64_t>>& some_texts() {
  static const std::vector<std::vector<int64_t>> texts = {
      {4, 5, 9, 2, 7, 7, 30, 41, 8}, {5, 3, 3}, {11, 4, 20, 21, 30, 1, 17}};
  return texts;
}

at::Tensor some_targets(const PackedTokens& tokens) {
  return at::arange(tokens.ids.size(0)).remainder(30);
}

// LoRA everywhere, and copies of all norms with their biases.
LoraConfig everything(const Decoder& decoder) {
  LoraConfig config{.r = 4, .lora_alpha = 8, .target_modules = "all-linear"};
  for (const ModuleInfo& module : decoder.modules()) {
    if (module.kind == ModuleKind::norm) config.trainable.push_back(module.path);
  }
  return config;
}

Adapter full_adapter(const Decoder& decoder) {
  const BaseValues base = [&](int64_t module, bool bias) {
    return decoder.base_value(module, bias);
  };
  Adapter adapter =
      Adapter::create(everything(decoder), decoder.modules(), 3, base).to(decoder.dtype());
  uint64_t i = 0;
  for (const at::Tensor& leaf : adapter.parameters()) {
    leaf.detach().add_(normal_tensor({3, Purpose::noise, ++i}, leaf.sizes(), 0, 0.1));
  }
  return adapter;
}

struct Pass {
  at::Tensor logprobs;
  std::vector<at::Tensor> gradients;
};

Pass run_pass(const Decoder& decoder, const Adapter& adapter, bool recompute) {
  const PackedTokens tokens = pack(some_texts());
  const at::Tensor hidden = decoder.forward(tokens, adapter, {.recompute_blocks = recompute});
  const at::Tensor logprobs =
      decoder.token_scores(hidden, some_targets(tokens), 0.7, adapter).logprobs;
  return {
      .logprobs = logprobs.detach(),
      .gradients = torch::autograd::grad({logprobs.to(at::kDouble).sum()}, adapter.parameters())};
}

TEST(FamilyDecoder, RecomputedGradientsAreTheSame) {
  for (const auto& [name, checkpoint] : tiny_families()) {
    SCOPED_TRACE(name);
    const auto decoder = Decoder::load(checkpoint);
    const Adapter adapter = full_adapter(*decoder);
    const Pass kept = run_pass(*decoder, adapter, false), again = run_pass(*decoder, adapter, true);
    for (size_t i = 0; i < kept.gradients.size(); ++i) {
      EXPECT_TRUE(same_bits(kept.gradients[i], again.gradients[i])) << i;
      EXPECT_GT(kept.gradients[i].abs().max().item<float>(), 0) << i;
    }
  }
}

TEST(FamilyDecoder, GradientsInFloat32AreThoseInFloat64) {
  for (const auto& [name, checkpoint] : tiny_families()) {
    SCOPED_TRACE(name);
    const auto decoder = Decoder::load(checkpoint), wide = Decoder::load(checkpoint, at::kDouble);
    const Adapter adapter = full_adapter(*decoder);
    const Pass narrow = run_pass(*decoder, adapter, false);
    const Pass exact = run_pass(*wide, adapter.to(at::kDouble), false);
    EXPECT_TRUE(all_close(narrow.logprobs.to(at::kDouble), exact.logprobs, 1e-5, 1e-5));
    for (size_t i = 0; i < narrow.gradients.size(); ++i) {
      const double size = exact.gradients[i].abs().max().item<double>();
      EXPECT_TRUE(
          all_close(narrow.gradients[i].to(at::kDouble), exact.gradients[i], 1e-4, 2e-5 * size))
          << i;
    }
  }
}

// A gradient's direction against two passes a little apart.
TEST(FamilyDecoder, GradientsAreThoseOfFiniteDifferences) {
  constexpr double kStep = 1e-5;
  for (const auto& [name, checkpoint] : tiny_families()) {
    SCOPED_TRACE(name);
    const auto decoder = Decoder::load(checkpoint, at::kDouble);
    const Adapter adapter = full_adapter(*decoder);
    const Pass pass = run_pass(*decoder, adapter, false);
    const auto leaves = adapter.parameters();
    for (size_t i = 0; i < leaves.size(); i += 3) {
      const at::Tensor direction =
          normal_tensor({5, Purpose::noise, i}, leaves[i].sizes(), 0, 1).to(at::kDouble);
      const auto moved = [&](double step) {
        leaves[i].detach().add_(direction, step);
        const double sum = run_pass(*decoder, adapter, false).logprobs.sum().item<double>();
        leaves[i].detach().add_(direction, -step);
        return sum;
      };
      const double slope = (moved(kStep) - moved(-kStep)) / (2 * kStep);
      const double known = pass.gradients[i].mul(direction).sum().item<double>();
      EXPECT_NEAR(slope, known, 1e-5 * std::max(1.0, std::abs(known))) << i;
    }
  }
}

TEST(FamilyDecoder, CrossEntropyIsThatOfItsLogProbs) {
  for (const auto& [name, checkpoint] : tiny_families()) {
    SCOPED_TRACE(name);
    const auto decoder = Decoder::load(checkpoint);
    const Adapter adapter = tiny_adapter(*decoder);
    const PackedTokens tokens = pack(some_texts());
    const at::Tensor targets = some_targets(tokens);
    const at::Tensor hidden = decoder->forward(tokens, adapter);
    const at::Tensor logprobs = decoder->token_scores(hidden, targets, 1.0, adapter).logprobs;
    const CrossEntropy loss = decoder->cross_entropy(hidden, targets, 0.0, 5.0, adapter);
    const at::Tensor sum = logprobs.to(at::kDouble).sum().div(-5.0);
    EXPECT_TRUE(all_close(loss.loss, sum, 1e-5, 1e-5));
    const auto a = torch::autograd::grad({loss.loss}, {hidden}, {}, /*retain_graph=*/true);
    const auto b = torch::autograd::grad({sum}, {hidden});
    EXPECT_TRUE(all_close(a[0], b[0], 1e-4, 1e-6));
    const c10::AutoGradMode no_grad(false);
    const at::Tensor other = decoder->forward(tokens);
    const at::Tensor kl = decoder->exact_kl(hidden, adapter, other, {});
    const at::Tensor p = decoder->logits(hidden, adapter).to(at::kDouble).log_softmax(-1);
    const at::Tensor q = decoder->logits(other).to(at::kDouble).log_softmax(-1);
    EXPECT_TRUE(all_close(kl, p.exp().mul(p.sub(q)).sum(-1), 1e-5, 1e-7));
  }
}

// Entropies and KL as parts of a loss: values, and the gradients of states and of an adapted head,
// against LibTorch's autograd through whole rows of logits.
TEST(FamilyDecoder, DistributionTermsAreThoseOfWholeRows) {
  for (const auto& [name, checkpoint] : tiny_families()) {
    SCOPED_TRACE(name);
    const auto decoder = Decoder::load(checkpoint);
    const Adapter adapter = full_adapter(*decoder);
    const PackedTokens tokens = pack(some_texts());
    const at::Tensor hidden = decoder->forward(tokens, adapter).detach().requires_grad_(true);
    const at::Tensor other = decoder->forward(tokens).detach();
    const at::Tensor weights = normal_tensor({3, Purpose::noise}, {2, hidden.size(0)}, 0.0, 1.0);
    const at::Tensor fused = decoder->distribution_terms(
        hidden, adapter, Decoder::ReferenceStates{*decoder, other, {}}, 0.7);
    const at::Tensor log_p =
        decoder->logits(hidden, adapter).to(at::kDouble).div(0.7).log_softmax(-1);
    const at::Tensor log_q =
        decoder->logits(other).detach().to(at::kDouble).div(0.7).log_softmax(-1);
    const at::Tensor entropies = log_p.exp().mul(log_p).sum(-1).neg();
    const at::Tensor kl = log_p.exp().mul(log_p.sub(log_q)).sum(-1);
    EXPECT_TRUE(all_close(fused[0], entropies, 1e-5, 1e-6));
    EXPECT_TRUE(all_close(fused[1], kl, 1e-4, 1e-6));
    EXPECT_TRUE(all_close(decoder->distribution_terms(hidden, adapter, std::nullopt, 0.7)[0],
                          fused[0], 0, 0));
    std::vector<at::Tensor> leaves = adapter.parameters();
    leaves.insert(leaves.begin(), hidden);
    const auto gradients = [&](const at::Tensor& loss) {
      return torch::autograd::grad({loss}, leaves, {}, /*retain_graph=*/std::nullopt,
                                   /*create_graph=*/false, /*allow_unused=*/true);
    };
    const auto a = gradients(fused.mul(weights).sum());
    const auto b = gradients(entropies.mul(weights[0]).sum() + kl.mul(weights[1]).sum());
    for (size_t i = 0; i < leaves.size(); ++i) {
      ASSERT_EQ(a[i].defined(), b[i].defined()) << i;
      if (!a[i].defined()) continue;
      EXPECT_TRUE(all_close(a[i], b[i].to(a[i].scalar_type()), 1e-3, 1e-5)) << i;
    }
  }
}

TEST(FamilyDecoder, PacksAndPrefixesAndRangesChangeNothing) {
  const c10::AutoGradMode no_grad(false);
  for (const auto& [name, checkpoint] : tiny_families()) {
    SCOPED_TRACE(name);
    const auto decoder = Decoder::load(checkpoint);
    const Adapter adapter = full_adapter(*decoder);
    std::vector<std::vector<int64_t>> texts;
    for (const int64_t last : {31, 32, 33}) {
      texts.push_back({4, 5, 9, 2, 7, 7, 30, 41, 8, 12, 13, 14, last, last + 1, last + 2});
    }
    std::vector<TokenSpan> spans(texts.begin(), texts.end());
    const TextGroup group{.num_texts = 3, .shared = 12};
    const PackedTexts shared = pack_groups(spans, {&group, 1});
    const at::Tensor together = decoder->forward(shared.tokens, adapter);
    // Rows of one pack through an adapter, none, and the adapter.
    AdapterRows ranges;
    ranges.ranges = {{&adapter, 15}, {nullptr, 15}, {&adapter, 15}};
    const at::Tensor mixed = decoder->forward(pack(texts), ranges);
    for (int64_t i = 0; i < 3; ++i) {
      const at::Tensor alone = decoder->forward(pack_one(texts[i]), adapter);
      const at::Tensor last = alone.narrow(0, 12, 3);
      EXPECT_TRUE(all_close(together.narrow(0, shared.row(i, 12), 3), last, 1e-5, 2e-5)) << i;
      const at::Tensor expected = i == 1 ? decoder->forward(pack_one(texts[i])) : alone;
      EXPECT_TRUE(all_close(mixed.narrow(0, 15 * i, 15), expected, 1e-5, 2e-5)) << i;
    }
  }
}

TEST(FamilyDecoder, OtherTypesStayNear) {
  const c10::AutoGradMode no_grad(false);
  for (const auto& [name, checkpoint] : tiny_families()) {
    SCOPED_TRACE(name);
    const PackedTokens tokens = pack(some_texts());
    const auto logits = [&](at::ScalarType dtype, Quantize quantize) {
      const auto decoder = Decoder::load(checkpoint, dtype, quantize);
      const Adapter adapter = tiny_adapter(*decoder);
      return decoder->logits(decoder->forward(tokens, adapter), adapter);
    };
    const at::Tensor exact = logits(at::kFloat, Quantize::none);
    const double spread = exact.std().item<double>();
    const auto error = [&](const at::Tensor& other) {
      return other.sub(exact).square().mean().sqrt().item<double>() / spread;
    };
    EXPECT_LT(error(logits(at::kBFloat16, Quantize::none)), 0.05);
    EXPECT_LT(error(logits(at::kFloat, Quantize::int8)), 0.05);
    EXPECT_LT(error(logits(at::kBFloat16, Quantize::nf4)), 0.5);
  }
}

TEST(FamilyDecoder, ShardedWeightsGiveTheSameBits) {
  for (const auto& [name, checkpoint] : tiny_families()) {
    SCOPED_TRACE(name);
    const auto whole = Decoder::load(checkpoint);
    const Adapter adapter = full_adapter(*whole);
    const Pass expected = run_pass(*whole, adapter, false);
    std::mutex mutex;
    testing::run_gathering_ranks(2, [&](int64_t, const std::shared_ptr<GatherQueue>& queue) {
      const auto part = Decoder::load(checkpoint, {.gathers = queue});
      const Pass pass = run_pass(*part, adapter, false);
      const std::scoped_lock lock(mutex);
      EXPECT_TRUE(same_bits(pass.logprobs, expected.logprobs));
      for (size_t i = 0; i < pass.gradients.size(); ++i) {
        EXPECT_TRUE(same_bits(pass.gradients[i], expected.gradients[i])) << i;
      }
    });
  }
}

TEST(FamilyDecoder, BaseValuesAndSizesAreThoseOfTheCheckpoint) {
  for (const auto& [name, checkpoint] : tiny_families()) {
    SCOPED_TRACE(name);
    const auto decoder = Decoder::load(checkpoint, at::kDouble);
    int64_t numbers = 0;
    for (int64_t i = 0; i < std::ssize(decoder->modules()); ++i) {
      const ModuleInfo& module = decoder->modules()[i];
      for (const bool bias : {false, true}) {
        const std::string tensor = module.path + (bias ? ".bias" : ".weight");
        if (!checkpoint.tensors->contains(tensor)) continue;
        const at::Tensor expected = checkpoint.tensors->read(tensor, at::kDouble);
        numbers += expected.numel();
        EXPECT_TRUE(same_bits(decoder->base_value(i, bias), expected)) << tensor;
      }
    }
    EXPECT_EQ(decoder->num_parameters(), numbers);
    EXPECT_EQ(decoder->weight_bytes(), 8 * numbers);
  }
}

// Every trained copy matters: of norms by weight and by bias.
TEST(FamilyDecoder, TrainedNormsReachTheirResult) {
  const c10::AutoGradMode no_grad(false);
  for (const auto& [name, checkpoint] : tiny_families()) {
    SCOPED_TRACE(name);
    const auto decoder = Decoder::load(checkpoint);
    const PackedTokens tokens = pack(some_texts());
    const at::Tensor before = decoder->forward(tokens);
    for (int64_t i = 0; i < std::ssize(decoder->modules()); ++i) {
      const ModuleInfo& module = decoder->modules()[i];
      if (module.kind != ModuleKind::norm) continue;
      for (const bool bias : {false, true}) {
        if (bias && !module.has_bias) continue;
        Adapter adapter({}, decoder->modules());
        const at::Tensor moved = decoder->base_value(i, bias).add(
            normal_tensor({9, Purpose::noise}, {module.out_features}, 0, 0.1));
        bias ? adapter.set_bias_copy(i, moved) : adapter.set_weight_copy(i, moved);
        EXPECT_FALSE(all_close(decoder->forward(tokens, adapter), before, 1e-3, 1e-3))
            << module.path << (bias ? ".bias" : ".weight");
      }
    }
  }
}

TEST(FamilyDecoder, GroupedColumnsAreOrderedForAttention) {
  const HeadShape shape{.num_heads = 4, .num_kv_heads = 2, .head_dim = 1};
  // Key head by key head: two queries, a key, a value.
  const at::Tensor qkv = at::arange(8).unsqueeze(0);
  const at::Tensor ordered = ungrouped(qkv, shape).flatten();
  const std::vector<int64_t> found(ordered.const_data_ptr<int64_t>(),
                                   ordered.const_data_ptr<int64_t>() + 8);
  EXPECT_EQ(found, (std::vector<int64_t>{0, 1, 4, 5, 2, 6, 3, 7}));
}

// Press et al.: 2^(-8 i / n), and every second one of 2 n where n is no power of two.
TEST(FamilyDecoder, AlibiSlopesAreThePapers) {
  const at::Tensor eight = alibi_slopes(8, at::kCPU), six = alibi_slopes(6, at::kCPU);
  for (int64_t i = 0; i < 8; ++i) {
    EXPECT_FLOAT_EQ(eight[i].item<float>(), std::exp2(-static_cast<float>(i + 1)));
  }
  const double expected[] = {0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125};
  for (int64_t i = 0; i < 6; ++i) EXPECT_FLOAT_EQ(six[i].item<float>(), expected[i]);
}

TEST(FamilyDecoder, NoiseOnScaledEmbeddingsIsRefused) {
  const EmbeddingNoise noise{.samples = {0, 1, 2}, .magnitudes = {0.1, 0.1, 0.1}};
  for (const auto& [name, checkpoint] : tiny_families()) {
    const auto decoder = Decoder::load(checkpoint);
    const auto run = [&] { decoder->forward(pack(some_texts()), {}, {.noise = &noise}); };
    if (checkpoint.config.embedding_scale != 1.0) {
      EXPECT_THROW(run(), ConfigError) << name;
    } else {
      EXPECT_NO_THROW(run()) << name;
    }
  }
}

TEST(FamilyDecoder, ClassifiersNeedNoHead) {
  for (const auto& [name, checkpoint] : tiny_families()) {
    SCOPED_TRACE(name);
    DecoderConfig config = checkpoint.config;
    config.num_labels = 2;
    config.tie_word_embeddings = false;
    Checkpoint classifier = testing::random_checkpoint(config);
    auto tensors = std::make_shared<testing::MemoryTensors>(
        dynamic_cast<const testing::MemoryTensors&>(*classifier.tensors));
    const std::string head = decoder_modules(config).back().path;
    tensors->tensors.erase(head + ".weight");
    tensors->tensors.erase(head + ".bias");
    tensors->tensors["score.weight"] = normal_tensor({4, Purpose::noise}, {2, 32}, 0, 1);
    classifier.tensors = tensors;
    const auto decoder = Decoder::load(classifier);
    const Adapter adapter =
        start_score_adapter({.target_modules = "all-linear", .task_type = TaskType::SEQ_CLS},
                            *decoder, classifier, 1, 2);
    EXPECT_TRUE(same_bits(score_head(adapter).weight.detach(), tensors->tensors["score.weight"]));
  }
}

}  // namespace
}  // namespace leash
