// The fused loss over the vocabulary against log_softmax written out.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "models/decoder/decoder.h"
#include "models/random/random.h"
#include "tests/support/tensors.h"
#include "tests/support/tiny_families.h"
#include "tests/support/tiny_model.h"

namespace leash {
namespace {

using testing::all_close;
using testing::tiny_decoder;

constexpr int64_t kRows = 2500;  // several chunks
constexpr double kNormalizer = 731.0;

struct LossCase {
  std::shared_ptr<const Decoder> decoder;
  Adapter adapter;
  at::Tensor hidden;   // a leaf
  at::Tensor targets;  // [rows]
};

LossCase make_case(at::ScalarType dtype) {
  const auto decoder = tiny_decoder(dtype, {.tie_word_embeddings = false});
  const LoraConfig config{.r = 3, .target_modules = std::vector<std::string>{"lm_head"}};
  Adapter adapter = testing::tiny_adapter(*decoder, 3, 0.3, config).to(dtype);
  const at::Tensor hidden =
      normal_tensor({.seed = 5}, {kRows, decoder->config().hidden_size}, 0, 1).to(dtype);
  std::vector<int64_t> targets;
  for (int64_t row = 0; row < kRows; ++row) targets.push_back(row * 37 % 96);
  return {decoder, adapter, hidden.detach().requires_grad_(true), at::tensor(targets, at::kLong)};
}

struct LossResult {
  double loss = 0;
  std::vector<at::Tensor> gradients;
};

LossResult fused(const LossCase& c, double epsilon) {
  const auto result =
      c.decoder->cross_entropy(c.hidden, c.targets, epsilon, kNormalizer, c.adapter);
  std::vector<at::Tensor> inputs = c.adapter.parameters();
  inputs.push_back(c.hidden);
  return {result.loss.item<double>(), torch::autograd::grad({result.loss.mul(3.0)}, inputs)};
}

LossResult written_out(const LossCase& c, double epsilon) {
  const at::Tensor log_p = at::log_softmax(c.decoder->logits(c.hidden, c.adapter), -1);
  const at::Tensor at_target = log_p.gather(1, c.targets.unsqueeze(1)).sum();
  const at::Tensor loss =
      at_target.mul(1 - epsilon).add(log_p.mean(-1).sum(), epsilon).div(-kNormalizer);
  std::vector<at::Tensor> inputs = c.adapter.parameters();
  inputs.push_back(c.hidden);
  return {loss.item<double>(), torch::autograd::grad({loss.mul(3.0)}, inputs)};
}

void expect_equal(at::ScalarType dtype, double epsilon, double relative) {
  const LossCase c = make_case(dtype);
  const LossResult actual = fused(c, epsilon), expected = written_out(c, epsilon);
  EXPECT_NEAR(actual.loss, expected.loss, relative * std::abs(expected.loss));
  ASSERT_EQ(actual.gradients.size(), expected.gradients.size());
  for (size_t i = 0; i < actual.gradients.size(); ++i) {
    const double size = expected.gradients[i].abs().max().item<double>();
    EXPECT_TRUE(all_close(actual.gradients[i], expected.gradients[i], 0, relative * size)) << i;
  }
}

TEST(CrossEntropy, EqualsLogSoftmaxInFloat64) {
  expect_equal(at::kDouble, 0.0, 1e-12);
  expect_equal(at::kDouble, 0.1, 1e-12);
}

TEST(CrossEntropy, TheKernelsAgreeInFloat32) {
  expect_equal(at::kFloat, 0.0, 1e-5);
  expect_equal(at::kFloat, 0.1, 1e-5);
}

TEST(CrossEntropy, CountsTheLikeliestTokens) {
  const LossCase c = make_case(at::kFloat);
  const at::Tensor best = at::argmax(c.decoder->logits(c.hidden.detach(), c.adapter), -1);
  const auto result = c.decoder->cross_entropy(c.hidden.detach(), c.targets, 0.1, 1, c.adapter);
  EXPECT_EQ(result.correct, best.eq(c.targets).sum().item<int64_t>());
  EXPECT_EQ(c.decoder->cross_entropy(c.hidden.detach(), best, 0, 1, c.adapter).correct, kRows);
}

TEST(CrossEntropy, NllIsWithoutSmoothingAndWithoutNormalizer) {
  const LossCase c = make_case(at::kDouble);
  const at::Tensor logprobs =
      c.decoder->token_scores(c.hidden.detach(), c.targets, 1.0, c.adapter).logprobs;
  for (const double epsilon : {0.0, 0.3}) {
    const auto result =
        c.decoder->cross_entropy(c.hidden.detach(), c.targets, epsilon, 9.0, c.adapter);
    EXPECT_NEAR(result.nll, -logprobs.sum().item<double>(), 1e-9);
  }
}

TEST(CrossEntropy, NoRowsAreNoLoss) {
  const LossCase c = make_case(at::kFloat);
  const auto result = c.decoder->cross_entropy(c.hidden.narrow(0, 0, 0), c.targets.narrow(0, 0, 0),
                                               0.1, 1.0, c.adapter);
  EXPECT_EQ(result.loss.item<double>(), 0.0);
  EXPECT_EQ(result.correct, 0);
}

// Scaled and capped logits, and a head whose bias trains.
TEST(VocabularyHead, ScalesCapsAndBiasesReachValuesAndGradients) {
  DecoderConfig config = testing::tiny_checkpoint().config;
  config.tie_word_embeddings = false;
  config.head_bias = true;
  config.logit_scale = 0.4;
  config.logit_softcap = 1.5;
  const auto decoder = Decoder::load(testing::random_checkpoint(config), at::kDouble);
  const at::Tensor hidden = normal_tensor({.seed = 5}, {40, 32}, 0, 1).to(at::kDouble);
  const at::Tensor targets = at::arange(40);
  const auto head = static_cast<int64_t>(decoder->modules().size()) - 1;
  for (const bool trains : {false, true}) {
    Adapter adapter({}, decoder->modules());
    const at::Tensor weight = decoder->base_value(head, false).requires_grad_(trains);
    const at::Tensor bias = decoder->base_value(head, true).requires_grad_(trains);
    if (trains) {
      adapter.set_weight_copy(head, weight);
      adapter.set_bias_copy(head, bias);
    }
    const at::Tensor leaf = hidden.clone().requires_grad_(true);
    std::vector<at::Tensor> inputs = {leaf};
    if (trains) inputs.insert(inputs.end(), {weight, bias});
    const at::Tensor raw = leaf.matmul(weight.t()).add(bias).mul(0.4);
    const at::Tensor log_p = raw.div(1.5).tanh().mul(1.5).div(0.7).log_softmax(-1);
    const at::Tensor exact = log_p.gather(1, targets.unsqueeze(1)).squeeze(1);
    const at::Tensor found = decoder->token_scores(leaf, targets, 0.7, adapter).logprobs;
    EXPECT_TRUE(all_close(found, exact, 1e-9, 1e-9));
    const auto a = torch::autograd::grad({found.sum()}, inputs);
    const auto b = torch::autograd::grad({exact.sum()}, inputs);
    for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(all_close(a[i], b[i], 1e-9, 1e-9)) << i;
    EXPECT_TRUE(all_close(decoder->logits(leaf, adapter), raw.div(1.5).tanh().mul(1.5), 1e-9));
  }
}

}  // namespace
}  // namespace leash
