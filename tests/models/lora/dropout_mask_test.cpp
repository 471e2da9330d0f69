// Dropout masks, read off the output: with W = 0 and A = B = 1, a row of ones comes out as its
// mask.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <string>
#include <vector>

#include "models/lora/adapted_linear.h"
#include "models/lora/lora.h"
#include "tests/support/tensors.h"

namespace leash {
namespace {

using testing::all_close;
using testing::same_bits;

constexpr int64_t kWidth = 64;
constexpr double kDropout = 0.3;

// Two projections of one input in each of two layers: modules 0, 1 and 2, 3.
Adapter identity_adapter() {
  std::vector<ModuleInfo> modules;
  for (const char* layer : {"model.layers.0.", "model.layers.1."}) {
    for (const char* name : {"self_attn.q_proj", "self_attn.v_proj"}) {
      modules.push_back({std::string(layer) + name, ModuleKind::linear, kWidth, kWidth});
    }
  }
  const LoraConfig config{.r = kWidth,
                          .lora_alpha = static_cast<double>(kWidth),
                          .lora_dropout = kDropout,
                          .target_modules = "all-linear"};
  Adapter adapter = Adapter::create(config, modules, /*seed=*/1);
  for (int64_t module = 0; module < 4; ++module) {
    const LoraWeights* weights = adapter.lora(module);
    weights->a.detach().copy_(at::eye(kWidth));
    weights->b.detach().copy_(at::eye(kWidth));
  }
  return adapter;
}

class DropoutMasks : public ::testing::Test {
 protected:
  // [rows, 2 * width]: the masks of both modules of a layer.
  at::Tensor masks(int64_t layer, const DropoutKey& key,
                   const std::vector<int64_t>& lengths) const {
    int64_t rows = 0;
    for (const int64_t length : lengths) rows += length;
    return output(at::ones({rows, kWidth}), layer, key, lengths).detach();
  }
  at::Tensor output(const at::Tensor& x, int64_t layer, const DropoutKey& key,
                    const std::vector<int64_t>& lengths) const {
    const LinearGroup group{.weight = dense_weight(at::zeros({2 * kWidth, kWidth})),
                            .bias = {},
                            .parts = {{.module = 2 * layer, .num_columns = kWidth},
                                      {.module = 2 * layer + 1, .num_columns = kWidth}}};
    return adapted_linear(x, group, adapter, &key, &lengths);
  }
  static at::Tensor first_module(const at::Tensor& masks) { return masks.narrow(1, 0, kWidth); }
  static at::Tensor second_module(const at::Tensor& masks) {
    return masks.narrow(1, kWidth, kWidth);
  }

  Adapter adapter = identity_adapter();
  const DropoutKey key{.seed = 3, .step = 5, .samples = {10, 11}};
};

TEST_F(DropoutMasks, AreZeroOrTheInverseOfWhatIsKept) {
  const at::Tensor mask = masks(0, key, {40, 30});
  const at::Tensor kept = mask.ne(0);
  EXPECT_NEAR(kept.to(at::kDouble).mean().item<double>(), 1 - kDropout, 0.02);
  EXPECT_TRUE(all_close(mask, kept.to(at::kFloat).div(1 - kDropout), 1e-6));
}

// Independent draws agree in p² + (1 - p)² = 58 % of their places.
TEST_F(DropoutMasks, DifferBySeedStepSampleLayerAndModule) {
  const at::Tensor both = masks(0, key, {40, 30});
  const std::vector<std::pair<std::string, at::Tensor>> drawn = {
      {"mask", first_module(both)},
      {"other seed", first_module(masks(0, {.seed = 4, .step = 5, .samples = {10, 11}}, {40, 30}))},
      {"other step", first_module(masks(0, {.seed = 3, .step = 6, .samples = {10, 11}}, {40, 30}))},
      {"other samples",
       first_module(masks(0, {.seed = 3, .step = 5, .samples = {12, 13}}, {40, 30}))},
      {"other module", second_module(both)},
      {"other layer", first_module(masks(1, key, {40, 30}))}};
  for (size_t i = 0; i < drawn.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const double equal =
          drawn[i].second.eq(drawn[j].second).to(at::kDouble).mean().item<double>();
      EXPECT_NEAR(equal, 0.58, 0.03) << drawn[j].first << " and " << drawn[i].first;
    }
  }
  const at::Tensor neighbours = first_module(both);
  EXPECT_NEAR(neighbours.narrow(0, 0, 30)
                  .eq(neighbours.narrow(0, 40, 30))
                  .to(at::kDouble)
                  .mean()
                  .item<double>(),
              0.58, 0.04);
}

TEST_F(DropoutMasks, AreTheSameHoweverSamplesAreSplit) {
  const at::Tensor together = masks(1, key, {40, 30});
  const at::Tensor first = masks(1, {.seed = 3, .step = 5, .samples = {10}}, {40});
  const at::Tensor second = masks(1, {.seed = 3, .step = 5, .samples = {11}}, {30});
  EXPECT_TRUE(same_bits(together, at::cat({first, second})));
  const at::Tensor exchanged = masks(1, {.seed = 3, .step = 5, .samples = {11, 10}}, {30, 40});
  EXPECT_TRUE(same_bits(exchanged, at::cat({second, first})));
}

// dL/dx of L = Σ y is the sum of both modules' masks.
TEST_F(DropoutMasks, AreDrawnAgainInTheBackwardPass) {
  at::Tensor x = at::ones({70, kWidth});
  x.set_requires_grad(true);
  const at::Tensor y = output(x, 0, key, {40, 30});
  const at::Tensor dx = torch::autograd::grad({y.sum()}, {x})[0];
  const at::Tensor mask = y.detach();
  EXPECT_TRUE(all_close(dx, first_module(mask) + second_module(mask), 1e-6));
}

}  // namespace
}  // namespace leash
