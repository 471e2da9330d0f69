// Sequences that continue another one of their batch: as if each were whole.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "models/attention/attention.h"
#include "models/attention/rope.h"
#include "models/decoder/decoder.h"
#include "models/device/op_profile.h"
#include "tests/support/tensors.h"
#include "tests/support/tiny_model.h"

namespace leash {
namespace {

using testing::all_close;
using testing::tiny_adapter;
using testing::tiny_decoder;

// {5 9 1} [77 3], {5 9 1} [42], then a whole sequence {8 2} and {8 2} [6].
PackedTokens shared() {
  return {.ids = at::tensor({5, 9, 1, 77, 3, 42, 8, 2, 6}, at::kLong),
          .positions = at::tensor({0, 1, 2, 3, 4, 3, 0, 1, 2}, at::kLong),
          .lengths = {3, 2, 1, 2, 1},
          .prefixes = {-1, 0, 0, -1, 3}};
}

// The rows of the whole texts that the shared batch has.
at::Tensor of_whole_texts(const Decoder& decoder, const Adapter& adapter,
                          const ForwardOptions& options = {}) {
  const std::vector<std::vector<int64_t>> texts = {{5, 9, 1, 77, 3}, {5, 9, 1, 42}, {8, 2, 6}};
  const at::Tensor hidden = decoder.forward(pack(texts), adapter, options);
  return hidden.index_select(0, at::tensor({0, 1, 2, 3, 4, 8, 9, 10, 11}, at::kLong));
}

TEST(SharedPrefix, StatesAreThoseOfWholeTexts) {
  const auto decoder = tiny_decoder(at::kDouble);
  const Adapter adapter = tiny_adapter(*decoder);
  EXPECT_TRUE(
      all_close(decoder->forward(shared(), adapter), of_whole_texts(*decoder, adapter), 0, 1e-12));
}

TEST(SharedPrefix, GradientsAreThoseOfWholeTexts) {
  const auto decoder = tiny_decoder(at::kDouble);
  const Adapter adapter = tiny_adapter(*decoder);
  const at::Tensor weights = at::linspace(-1, 2, 9, at::kDouble).unsqueeze(1);
  // Rows of the prefix stand once in the shared batch and in the first text alone there.
  const auto gradients = [&](const at::Tensor& hidden) {
    return torch::autograd::grad({hidden.square().mul(weights).sum()}, adapter.parameters());
  };
  const auto expected = gradients(of_whole_texts(*decoder, adapter));
  for (const bool recompute : {false, true}) {
    const auto actual =
        gradients(decoder->forward(shared(), adapter, {.recompute_blocks = recompute}));
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_TRUE(all_close(actual[i], expected[i], 0, 1e-10)) << i;
    }
  }
}

// Sums over many texts keep their digits in narrow types: the gradient of a prefix is as exact
// as that of any other row.
TEST(SharedPrefix, GradientsOfManyTextsAreSummedInAWideType) {
  constexpr int64_t kTexts = 400, kShared = 6, kHeads = 4, kKeyHeads = 2, kDim = 8;
  const HeadShape shape{.num_heads = kHeads, .num_kv_heads = kKeyHeads, .head_dim = kDim};
  std::vector<int64_t> lengths = {kShared}, prefixes = {-1}, at_position;
  for (int64_t i = 0; i < kShared; ++i) at_position.push_back(i);
  for (int64_t i = 0; i < kTexts; ++i) {
    lengths.push_back(1);
    prefixes.push_back(0);
    at_position.push_back(kShared);
  }
  const int64_t rows = kShared + kTexts, width = (kHeads + 2 * kKeyHeads) * kDim;
  const at::Tensor positions = at::tensor(at_position, at::kLong);
  const RopeTable table = rope_table({.theta = 10000, .rotary_dim = kDim}, 16);
  // Gradients of one sign, so that a narrow sum would stand still at last.
  const at::Tensor start = at::linspace(-1, 1, rows * width, at::kDouble)
                               .mul(37)
                               .sin()
                               .view({rows, width})
                               .to(at::kBFloat16);
  const auto prefix_gradient = [&](at::ScalarType dtype, bool fused) {
    const at::Tensor qkv = start.to(dtype).detach().requires_grad_(true);
    const QueryKeyValue heads = split_and_rotate(qkv, positions, table, kHeads, kKeyHeads, kDim);
    const at::Tensor y =
        fused ? packed_self_attention(qkv, positions, table, shape, lengths, prefixes)
              : packed_attention(heads.query, heads.key, heads.value, lengths, prefixes);
    const at::Tensor dy = at::ones_like(y.detach()).div(8);
    return torch::autograd::grad({y}, {qkv}, {dy})[0].narrow(0, 0, kShared).to(at::kDouble);
  };
  for (const bool fused : {true, false}) {
    const at::Tensor exact = prefix_gradient(at::kDouble, fused);
    for (const at::ScalarType dtype : {at::kBFloat16, at::kHalf}) {
      const at::Tensor narrow = prefix_gradient(dtype, fused);
      const double error = narrow.sub(exact).norm().div(exact.norm()).item<double>();
      EXPECT_LT(error, 0.01) << (fused ? "fused " : "by autograd ") << dtype;
    }
  }
}

// One mask for each length of a prefix, whatever the number of texts and layers.
TEST(SharedPrefix, MasksAreMadeOncePerForward) {
  const auto decoder = tiny_decoder();
  ASSERT_GT(decoder->config().num_layers, 1);
  const Adapter adapter = tiny_adapter(*decoder);
  OpProfile profile;
  const at::Tensor hidden = decoder->forward(shared(), adapter);
  (void)torch::autograd::grad({hidden.sum()}, adapter.parameters());
  EXPECT_EQ(profile.take().at("aten::triu_").calls, 2);
}

TEST(SharedPrefix, OnlyAnEarlierWholeSequenceCanBeContinued) {
  const auto decoder = tiny_decoder();
  PackedTokens tokens = shared();
  tokens.prefixes = {-1, 0, 1, -1, 3};  // 1 continues one itself
  EXPECT_THROW(decoder->forward(tokens), c10::Error);
  tokens.prefixes = {1, -1, -1, -1, -1};
  EXPECT_THROW(decoder->forward(tokens), c10::Error);
  tokens.prefixes = {-1, 0};
  EXPECT_THROW(decoder->forward(tokens), c10::Error);
}

}  // namespace
}  // namespace leash
