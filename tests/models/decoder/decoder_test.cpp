// The decoder on its own: packing, adapters as arguments, caches, recomputation, fused against
// plain versions, gradients.
#include "models/decoder/decoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "models/attention/attention.h"
#include "models/attention/rope.h"
#include "models/decoder/mlp.h"
#include "models/decoder/norm.h"
#include "tests/support/tensors.h"
#include "tests/support/tiny_model.h"

namespace leash {
namespace {

using testing::all_close;
using testing::kTinyTexts;
using testing::noise;
using testing::same_bits;
using testing::tiny_adapter;
using testing::tiny_decoder;

TEST(Decoder, ABatchEqualsEachTextAlone) {
  const auto decoder = tiny_decoder();
  const Adapter adapter = tiny_adapter(*decoder);
  const c10::AutoGradMode no_grad(false);
  const at::Tensor together = decoder->forward(pack(kTinyTexts), adapter);
  int64_t row = 0;
  for (const auto& text : kTinyTexts) {
    const at::Tensor alone = decoder->forward(pack_one(text), adapter);
    EXPECT_TRUE(all_close(together.narrow(0, row, alone.size(0)), alone, 0, 1e-5));
    row += alone.size(0);
  }
}

TEST(Decoder, AdapterRowsEqualSeparateCalls) {
  const auto decoder = tiny_decoder();
  const Adapter first = tiny_adapter(*decoder, 3);
  const Adapter second = tiny_adapter(*decoder, 4);
  const c10::AutoGradMode no_grad(false);
  AdapterRows rows;
  rows.ranges = {{&first, 5}, {nullptr, 1}, {&second, 7}};
  const at::Tensor mixed = decoder->forward(pack(kTinyTexts), rows);
  EXPECT_TRUE(
      all_close(mixed.narrow(0, 0, 5), decoder->forward(pack_one(kTinyTexts[0]), first), 0, 1e-5));
  EXPECT_TRUE(all_close(mixed.narrow(0, 5, 1), decoder->forward(pack_one(kTinyTexts[1])), 0, 1e-5));
  EXPECT_TRUE(
      all_close(mixed.narrow(0, 6, 7), decoder->forward(pack_one(kTinyTexts[2]), second), 0, 1e-5));
  EXPECT_FALSE(
      all_close(mixed.narrow(0, 0, 5), decoder->forward(pack_one(kTinyTexts[0]), second), 0, 1e-3));
}

TEST(Decoder, AFreshAdapterChangesNothing) {
  const auto decoder = tiny_decoder();
  const Adapter fresh = Adapter::create({.target_modules = "all-linear"}, decoder->modules(), 1);
  const c10::AutoGradMode no_grad(false);
  EXPECT_TRUE(
      same_bits(decoder->forward(pack(kTinyTexts), fresh), decoder->forward(pack(kTinyTexts))));
}

// The gradients of everything that an adapter trains, by central differences in float64.
void check_gradients(const Decoder& decoder, const Adapter& adapter, const ForwardOptions& options,
                     const std::vector<std::vector<int64_t>>& texts) {
  const PackedTokens tokens = pack(texts);
  const at::Tensor targets = tokens.ids.flip(0).contiguous();
  const at::Tensor weights = at::linspace(-1, 2, tokens.ids.size(0), at::kDouble);
  const auto loss = [&] {
    const at::Tensor hidden = decoder.forward(tokens, adapter, options);
    return decoder.token_scores(hidden, targets, 0.7, adapter).logprobs.mul(weights).sum();
  };
  const auto parameters = adapter.parameters();
  const auto gradients = torch::autograd::grad({loss()}, parameters);
  const c10::AutoGradMode no_grad(false);
  for (size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor direction = noise(parameters[i].sizes(), i).to(at::kDouble);
    const at::Tensor values = parameters[i].detach();
    constexpr double kStep = 3e-6;  // truncation, which falls with its square, stays below 1e-6
    values.add_(direction, kStep);
    const double above = loss().item<double>();
    values.sub_(direction, 2 * kStep);
    const double below = loss().item<double>();
    values.add_(direction, kStep);
    const double expected = (above - below) / (2 * kStep);
    EXPECT_NEAR(gradients[i].mul(direction).sum().item<double>(), expected,
                1e-6 * (1 + std::abs(expected)))
        << adapter.named_tensors()[i].first;
  }
}

TEST(Decoder, GradientsOfLora) {
  const auto decoder = tiny_decoder(at::kDouble);
  check_gradients(*decoder, tiny_adapter(*decoder), {}, kTinyTexts);
}

TEST(Decoder, GradientsOfLoraOnTheHead) {
  const auto decoder = tiny_decoder(at::kDouble, {.tie_word_embeddings = false});
  check_gradients(
      *decoder,
      tiny_adapter(*decoder, 3, 0.3,
                   {.r = 3, .target_modules = std::vector<std::string>{"lm_head", "down_proj"}}),
      {}, kTinyTexts);
}

TEST(Decoder, GradientsWithDropoutMasksThatAreDrawnAgain) {
  const auto decoder = tiny_decoder(at::kDouble);
  const DropoutKey key{.seed = 5, .step = 2, .samples = {10, 11, 12}};
  const Adapter adapter =
      tiny_adapter(*decoder, 3, 0.3, {.r = 4, .lora_dropout = 0.4, .target_modules = "all-linear"});
  check_gradients(*decoder, adapter, {.dropout = &key}, kTinyTexts);
  check_gradients(*decoder, adapter, {.dropout = &key, .recompute_blocks = true}, kTinyTexts);
}

TEST(Decoder, RecomputationGivesTheSameGradients) {
  const auto decoder = tiny_decoder();
  const Adapter adapter = tiny_adapter(*decoder);
  const PackedTokens tokens = pack(kTinyTexts);
  const auto gradients = [&](bool recompute) {
    const at::Tensor hidden = decoder->forward(tokens, adapter, {.recompute_blocks = recompute});
    return torch::autograd::grad({hidden.square().sum()}, adapter.parameters());
  };
  const auto plain = gradients(false);
  const auto recomputed = gradients(true);
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_TRUE(same_bits(recomputed[i], plain[i]));
}

TEST(Decoder, TrainedCopiesStandInForTheBase) {
  const auto decoder = tiny_decoder(at::kDouble, {.tie_word_embeddings = false, .qkv_bias = true});
  const auto& modules = decoder->modules();
  Adapter adapter = tiny_adapter(*decoder, 3, 0.3,
                                 {.r = 2, .target_modules = std::vector<std::string>{"v_proj"}});
  for (size_t i = 0; i < modules.size(); ++i) {
    const ModuleInfo& info = modules[i];
    const auto leaf = [&](at::IntArrayRef shape) {
      return noise(shape, 100 + i).to(at::kDouble).mul_(0.2).requires_grad_(true);
    };
    if (info.path.ends_with("k_proj"))
      adapter.set_weight_copy(i, leaf({info.out_features, info.in_features}));
    if (info.path.ends_with("q_proj")) adapter.set_bias_copy(i, leaf({info.out_features}));
    if (info.path == "model.layers.1.input_layernorm")
      adapter.set_weight_copy(i, leaf({info.out_features}));
    if (info.path == "lm_head")
      adapter.set_weight_copy(i, leaf({info.out_features, info.in_features}));
  }
  check_gradients(*decoder, adapter, {}, kTinyTexts);
  check_gradients(*decoder, adapter, {.recompute_blocks = true}, kTinyTexts);
  // Rows of the base beside rows of the adapter are untouched by its copies.
  const c10::AutoGradMode no_grad(false);
  AdapterRows rows;
  rows.ranges = {{&adapter, 5}};
  const at::Tensor mixed = decoder->forward(pack(kTinyTexts), rows);
  const at::Tensor base = decoder->forward(pack(kTinyTexts));
  EXPECT_TRUE(all_close(mixed.narrow(0, 5, 8), base.narrow(0, 5, 8), 0, 1e-12));
  EXPECT_FALSE(all_close(mixed.narrow(0, 0, 5), base.narrow(0, 0, 5), 0, 1e-2));
}

// Every weight of the model as a trained copy, other than the base's.
Adapter copies_of_everything(const Decoder& decoder) {
  Adapter adapter({}, decoder.modules());
  for (size_t i = 0; i < decoder.modules().size(); ++i) {
    const at::Tensor base = decoder.base_value(static_cast<int64_t>(i), /*bias=*/false);
    adapter.set_weight_copy(
        i,
        base.add(noise(base.sizes(), 300 + i).to(base.scalar_type()), 0.05).requires_grad_(true));
  }
  return adapter;
}

TEST(Decoder, GradientsOfAModelThatTrainsWhole) {
  const auto decoder = tiny_decoder(at::kDouble, {.tie_word_embeddings = false});
  const Adapter adapter = copies_of_everything(*decoder);
  check_gradients(*decoder, adapter, {}, kTinyTexts);
  check_gradients(*decoder, adapter, {.recompute_blocks = true}, kTinyTexts);
}

// A pass adds to the gradients that passes before it left, whichever way they take; an id that
// stands several times counts as often.
TEST(Decoder, PassesAddToTheGradientsOfAModelThatTrainsWhole) {
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat}) {
    const auto decoder = tiny_decoder(dtype, {.tie_word_embeddings = false});
    const Adapter adapter = copies_of_everything(*decoder);
    const at::Tensor weights = noise({13, 32}, 7).to(dtype);
    const auto loss = [&](bool recompute) {
      return decoder->forward(pack(kTinyTexts), adapter, {.recompute_blocks = recompute})
          .mul(weights)
          .sum();
    };
    std::vector<at::Tensor> leaves;
    for (const auto& [name, tensor] : adapter.named_tensors()) {
      if (name.find("lm_head") == std::string::npos) leaves.push_back(tensor);
    }
    const auto once = torch::autograd::grad({loss(false)}, leaves);
    for (const bool recompute : {false, false, true}) {
      torch::autograd::backward({loss(recompute)}, {});
    }
    // Whoever asks for gradients gets them, and what is there stays as it is.
    const auto asked = torch::autograd::grad({loss(false)}, leaves);
    for (size_t i = 0; i < leaves.size(); ++i) {
      ASSERT_TRUE(asked[i].defined()) << i;
      EXPECT_TRUE(all_close(asked[i], once[i], 0, 1e-12)) << i;
    }
    for (size_t i = 0; i < leaves.size(); ++i) {
      const double scale = once[i].abs().max().item<double>();
      EXPECT_GT(scale, 1e-3);
      EXPECT_TRUE(all_close(leaves[i].grad(), once[i].mul(3), 0,
                            scale * (dtype == at::kDouble ? 1e-12 : 1e-5)))
          << i;
    }
  }
}

TEST(Decoder, TokenScoresEqualLogSoftmaxInChunks) {
  const auto decoder = tiny_decoder();
  const c10::AutoGradMode no_grad(false);
  const at::Tensor hidden = noise({2500, 32}, 1);  // more rows than a chunk
  const at::Tensor targets = at::linspace(0, 95, 2500, at::kDouble).to(at::kLong);
  const auto scores = decoder->token_scores(hidden, targets, 0.7);
  const at::Tensor logp = at::log_softmax(decoder->logits(hidden).to(at::kDouble).div(0.7), -1);
  EXPECT_TRUE(
      all_close(scores.logprobs, logp.gather(1, targets.unsqueeze(1)).squeeze(1), 1e-5, 2e-6));
  EXPECT_TRUE(all_close(scores.entropies, logp.exp().mul(logp).sum(-1).neg(), 1e-5, 2e-6));
}

TEST(Decoder, FusedHeadGradientEqualsAutograd) {
  const auto decoder = tiny_decoder();
  const at::Tensor hidden = noise({1100, 32}, 1).requires_grad_(true);
  const at::Tensor targets = at::linspace(0, 95, 1100, at::kDouble).to(at::kLong);
  const at::Tensor weights = noise({1100}, 2);
  const auto fused = torch::autograd::grad(
      {decoder->token_scores(hidden, targets, 1.3).logprobs.mul(weights).sum()}, {hidden});
  const at::Tensor logp = at::log_softmax(decoder->logits(hidden).div(1.3), -1);
  const auto plain = torch::autograd::grad(
      {logp.gather(1, targets.unsqueeze(1)).squeeze(1).mul(weights).sum()}, {hidden});
  EXPECT_TRUE(all_close(fused[0], plain[0], 1e-4, 2e-6));
}

TEST(Decoder, ExactKlEqualsItsDefinition) {
  const auto decoder = tiny_decoder();
  const c10::AutoGradMode no_grad(false);
  const Adapter adapter = tiny_adapter(*decoder);
  const at::Tensor policy = decoder->forward(pack(kTinyTexts), adapter);
  const at::Tensor reference = decoder->forward(pack(kTinyTexts));
  const at::Tensor log_p = at::log_softmax(decoder->logits(policy).to(at::kDouble), -1);
  const at::Tensor log_q = at::log_softmax(decoder->logits(reference).to(at::kDouble), -1);
  const at::Tensor expected = log_p.exp().mul(log_p.sub(log_q)).sum(-1);
  EXPECT_TRUE(all_close(decoder->exact_kl(policy, adapter, reference, {}), expected, 1e-5, 1e-6));
  EXPECT_TRUE(
      all_close(decoder->exact_kl(policy, adapter, policy, adapter), expected.mul(0), 0, 1e-6));
}

TEST(Decoder, FusedLayersEqualPlainOnes) {
  const at::Tensor x = noise({33, 48}, 1).requires_grad_(true);
  const at::Tensor weight = noise({48}, 2);
  const at::Tensor dy = noise({33, 48}, 3);
  const auto compare = [](const at::Tensor& fused, const at::Tensor& plain, const at::Tensor& input,
                          const at::Tensor& gradient) {
    EXPECT_TRUE(all_close(fused, plain, 1e-5, 1e-6));
    EXPECT_TRUE(all_close(torch::autograd::grad({fused}, {input}, {gradient})[0],
                          torch::autograd::grad({plain}, {input}, {gradient})[0], 1e-4, 2e-6));
  };
  compare(rms_norm(x, weight, 1e-5), rms_norm_plain(x, weight, 1e-5), x, dy);
  const at::Tensor trained = noise({48}, 2).requires_grad_(true);
  for (const at::Tensor& input : {x, trained}) {
    compare(rms_norm(x, trained, 1e-5), rms_norm_plain(x, trained, 1e-5), input, dy);
  }
  compare(rms_norm(x.detach(), trained, 1e-5), rms_norm_plain(x.detach(), trained, 1e-5), trained,
          dy);
  compare(gated_activation(x, Activation::silu), gated_activation_plain(x, Activation::silu), x,
          dy.narrow(1, 0, 24).contiguous());
  const at::Tensor extreme =
      at::tensor({-200.0f, -90.0f, -20.0f, 0.0f, 20.0f, 200.0f}).view({1, 6}).repeat({2, 2});
  EXPECT_TRUE(all_close(gated_activation(extreme, Activation::silu),
                        gated_activation_plain(extreme, Activation::silu), 1e-5, 1e-6));
  const RopeTable table = rope_table({.theta = 10000, .rotary_dim = 12}, 64);
  const at::Tensor heads = noise({33, 3, 16}, 4).requires_grad_(true);
  const at::Tensor positions = at::linspace(0, 63, 33, at::kDouble).to(at::kLong);
  compare(rotate(heads, positions, table), rotate_plain(heads, positions, table), heads,
          noise({33, 3, 16}, 5));
}

// One node from the fused projection against LibTorch's own gradients of the parts: grouped heads,
// sequences of 1 to 70 rows (more than one of the kernel's blocks), positions that do not start at
// 0.
TEST(Decoder, PackedSelfAttentionEqualsItsParts) {
  const HeadShape shape{.num_heads = 6, .num_kv_heads = 2, .head_dim = 8};
  const std::vector<int64_t> lengths = {3, 1, 70, 12};
  const RopeTable table = rope_table({.theta = 10000, .rotary_dim = 8}, 100);
  const at::Tensor positions = at::linspace(0, 85, 86, at::kDouble).to(at::kLong);
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat}) {
    const at::Tensor input = noise({86, 80}, 1).to(dtype);
    const at::Tensor dy = noise({86, 48}, 2).to(dtype);
    const at::Tensor a = input.clone().requires_grad_(true), b = input.clone().requires_grad_(true);
    const at::Tensor ours = packed_self_attention(a, positions, table, shape, lengths);
    const QueryKeyValue parts = split_and_rotate(b, positions, table, 6, 2, 8);
    const at::Tensor plain = packed_attention(parts.query, parts.key, parts.value, lengths);
    const double tolerance = dtype == at::kDouble ? 1e-12 : 1e-5;
    EXPECT_TRUE(all_close(ours, plain, 0, tolerance));
    EXPECT_TRUE(all_close(torch::autograd::grad({ours}, {a}, {dy})[0],
                          torch::autograd::grad({plain}, {b}, {dy})[0], 0, tolerance));
  }
}

// PEFT stores the base's weight beside an adapted lm_head; it is no leaf that backward may ask for.
TEST(Decoder, AFrozenCopyBesideAnAdaptedHeadGetsNoGradient) {
  const auto decoder = tiny_decoder();
  Adapter adapter = testing::tiny_adapter(
      *decoder, 3, 0.3, {.r = 4, .target_modules = std::vector<std::string>{"lm_head", "q_proj"}});
  const auto head = static_cast<int64_t>(decoder->modules().size()) - 1;
  ASSERT_NE(adapter.lora(head), nullptr);
  adapter.set_weight_copy(head, decoder->base_value(head, /*bias=*/false));
  for (const bool recompute : {false, true}) {
    const at::Tensor hidden =
        decoder->forward(pack_one({1, 2, 3, 4}), adapter, {.recompute_blocks = recompute});
    const at::Tensor targets = at::tensor({2, 3, 4, 5}, at::kLong);
    for (const at::Tensor& parameter : adapter.parameters()) parameter.mutable_grad().reset();
    torch::autograd::backward({decoder->token_scores(hidden, targets, 1.0, adapter).logprobs.sum()},
                              {}, /*retain_graph=*/true);
    torch::autograd::backward({decoder->cross_entropy(hidden, targets, 0.0, 4.0, adapter).loss},
                              {});
    for (const at::Tensor& parameter : adapter.parameters()) {
      EXPECT_GT(parameter.grad().abs().max().item<double>(), 0);
    }
    EXPECT_FALSE(adapter.weight_copy(head)->grad().defined());
  }
}

TEST(Decoder, AGrowingRopeTableHasTheRowsOfTheWholeOne) {
  const RopeConfig config{.theta = 10000, .rotary_dim = 8};
  const RopeTable whole = rope_table(config, 5000);
  const GrowingRopeTable growing(config, 5000);
  for (const int64_t positions : {1, 2048, 2049, 100, 5000}) {
    growing.cover(positions);
    const RopeTable table = growing.table();
    const int64_t rows = table.cosines.size(0);
    EXPECT_GE(rows, positions);
    EXPECT_TRUE(testing::same_bits(table.cosines, whole.cosines.narrow(0, 0, rows)));
    EXPECT_TRUE(testing::same_bits(table.sines, whole.sines.narrow(0, 0, rows)));
  }
  EXPECT_THROW(growing.cover(5001), c10::Error);
}

TEST(Decoder, CachedAttentionEqualsPackedAttention) {
  const std::vector<int64_t> slots = {2, 0};
  const std::vector<int64_t> past = {3, 7};
  const std::vector<int64_t> lengths = {2, 1};
  CachedLayer layer{.keys = noise({3, 2, 9, 8}, 1),
                    .values = noise({3, 2, 9, 8}, 2),
                    .slots = &slots,
                    .past = &past};
  const at::Tensor query = noise({3, 4, 8}, 3);
  const at::Tensor fused = cached_attention(query, layer, lengths);
  EXPECT_TRUE(all_close(fused, cached_attention_plain(query, layer, lengths), 1e-5, 1e-6));
  // Against whole sequences: the last rows of packed attention over everything in the slot.
  for (int64_t i = 0, row = 0; i < 2; row += lengths[i++]) {
    const int64_t total = past[i] + lengths[i];
    const auto rows = [&](const at::Tensor& cache) {
      return cache.select(0, slots[i]).narrow(1, 0, total).transpose(0, 1).contiguous();
    };
    const at::Tensor padded =
        at::cat({noise({past[i], 4, 8}, 4), query.narrow(0, row, lengths[i])});
    const at::Tensor whole =
        packed_attention(padded, rows(layer.keys), rows(layer.values), {total});
    EXPECT_TRUE(all_close(fused.narrow(0, row, lengths[i]), whole.narrow(0, past[i], lengths[i]),
                          1e-5, 1e-6));
  }
}

TEST(Decoder, NothingNotANumberIsHidden) {
  const auto decoder = tiny_decoder();
  const c10::AutoGradMode no_grad(false);
  const at::Tensor hidden = noise({3, 32}, 1);
  hidden.select(0, 1).fill_(NAN);
  const auto scores = decoder->token_scores(hidden, at::tensor({1, 2, 3}, at::kLong));
  EXPECT_TRUE(std::isnan(scores.logprobs[1].item<float>()));
  EXPECT_FALSE(std::isnan(scores.logprobs[0].item<float>()));
  const at::Tensor other = noise({3, 32}, 2);
  for (const auto& kl :
       {decoder->exact_kl(hidden, {}, other, {}), decoder->exact_kl(other, {}, hidden, {})}) {
    EXPECT_TRUE(std::isnan(kl[1].item<float>()));
    EXPECT_FALSE(std::isnan(kl[0].item<float>()));
  }
}

TEST(Decoder, RefusesWhatDoesNotFit) {
  const auto decoder = tiny_decoder();
  std::vector<int64_t> too_long(65, 1);
  EXPECT_THROW(decoder->forward(pack_one(too_long)), c10::Error);
  auto checkpoint = testing::tiny_checkpoint();
  checkpoint.config.intermediate_size += 8;
  EXPECT_THROW(Decoder::load(checkpoint), std::runtime_error);
}

}  // namespace
}  // namespace leash
