// Norms whose weight is wider than their input, or counts from 1, and layer norms.
#include "models/decoder/norm.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "models/random/random.h"
#include "tests/support/tensors.h"

namespace leash {
namespace {

using testing::same_bits;

// 1.003 is 1 in bfloat16: a weight of fp32 (over a quantised base, or a trained copy) counts as it
// is.
TEST(RmsNorm, AWiderWeightKeepsItsPrecision) {
  const at::Tensor x = normal_tensor({1, Purpose::noise}, {6, 32}, 0, 40).to(at::kBFloat16);
  at::Tensor weight = at::full({32}, 1.003);
  const at::Tensor plain = rms_norm(x, at::full({32}, 1.0).to(at::kBFloat16), 1e-5);
  const at::Tensor expected = plain.to(at::kFloat).mul(1.003).to(at::kBFloat16);
  EXPECT_TRUE(same_bits(rms_norm(x, weight, 1e-5), expected));
  EXPECT_FALSE(plain.equal(expected));
  weight.set_requires_grad(true);
  const at::Tensor gradient =
      torch::autograd::grad({rms_norm(x, weight, 1e-5).to(at::kFloat).sum()}, {weight})[0];
  EXPECT_EQ(gradient.scalar_type(), at::kFloat);
  EXPECT_TRUE(testing::all_close(gradient, plain.to(at::kFloat).sum(0), 1e-2, 1e-2));
}

// x (1 + w) / rms in fp32, rounded once.
TEST(OffsetRmsNorm, MultipliesBeforeItRounds) {
  const at::Tensor x = normal_tensor({1, Purpose::noise}, {64, 32}, 0, 40).to(at::kBFloat16);
  const at::Tensor weight = normal_tensor({2, Purpose::noise}, {32}, 0, 0.3).to(at::kBFloat16);
  const at::Tensor wide = x.to(at::kFloat);
  const at::Tensor scale = weight.to(at::kFloat).add(1.0);
  const at::Tensor exact =
      rms_norm_plain(wide.to(at::kDouble), scale.to(at::kDouble), 1e-5).to(at::kFloat);
  EXPECT_TRUE(testing::all_close(offset_rms_norm(wide, weight.to(at::kFloat), 1.0, 1e-5), exact,
                                 1e-6, 1e-6));
  const at::Tensor found = offset_rms_norm(x, weight, 1.0, 1e-5);
  // All but what lies between two numbers of bfloat16 to within fp32's rounding.
  EXPECT_LT(found.ne(exact.to(at::kBFloat16)).sum().item<int64_t>(), 4);
}

TEST(LayerNorm, IsWrittenOutInEveryTypeAndGivesItsGradients) {
  const at::Tensor x = normal_tensor({1, Purpose::noise}, {6, 32}, 3, 2).to(at::kDouble);
  at::Tensor weight = normal_tensor({2, Purpose::noise}, {32}, 1, 0.3).to(at::kDouble);
  at::Tensor bias = normal_tensor({3, Purpose::noise}, {32}, 0, 0.3).to(at::kDouble);
  const at::Tensor centred = x.sub(x.mean(at::IntArrayRef{-1}, true));
  const at::Tensor normal =
      centred.div(centred.square().mean(at::IntArrayRef{-1}, true).add(1e-5).sqrt());
  const at::Tensor exact = normal.mul(weight).add(bias);
  EXPECT_TRUE(testing::all_close(layer_norm(x, weight, bias, 1e-5), exact, 0, 1e-12));
  const at::Tensor narrow =
      layer_norm(x.to(at::kBFloat16), weight.to(at::kFloat), bias.to(at::kFloat), 1e-5);
  EXPECT_EQ(narrow.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(testing::all_close(narrow.to(at::kDouble), exact, 2e-2, 2e-2));
  EXPECT_TRUE(testing::all_close(layer_norm(x, weight, {}, 1e-5), exact.sub(bias), 0, 1e-12));
  weight.set_requires_grad(true);
  bias.set_requires_grad(true);
  const auto gradients =
      torch::autograd::grad({layer_norm(x, weight, bias, 1e-5).square().sum()}, {weight, bias});
  EXPECT_TRUE(testing::all_close(gradients[0], exact.mul(normal).sum(0).mul(2), 1e-9, 1e-9));
  EXPECT_TRUE(testing::all_close(gradients[1], exact.sum(0).mul(2), 1e-9, 1e-9));
}

}  // namespace
}  // namespace leash
