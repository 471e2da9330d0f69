// The decoder on a device that is not the CPU (a pretend one over host memory): logits, gradients,
// quantised weights and randomness are the CPU's, and tensors of both sides do not mix.
#include "tests/support/pretend_device.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "models/decoder/heads.h"
#include "models/decoder/packed_texts.h"
#include "models/device/device.h"
#include "models/errors.h"
#include "models/quant/nf4.h"
#include "models/quant/packed_rows.h"
#include "models/quant/quantized_weight.h"
#include "tests/support/tensors.h"
#include "tests/support/tiny_model.h"

namespace leash {
namespace {

using testing::all_close;
using ::testing::HasSubstr;
using testing::kTinyTexts;
using testing::noise;
using testing::pretend_device;
using testing::same_bits;
using testing::tiny_adapter;
using testing::tiny_checkpoint;

TEST(PretendDevice, TensorsOfBothSidesDoNotMix) {
  const at::Tensor here = noise({3, 4}, 1), there = here.to(pretend_device());
  EXPECT_EQ(there.device().str(), "pretend:0");
  EXPECT_TRUE(same_bits(there.cpu(), here));
  EXPECT_TRUE(same_bits(there.t().matmul(there).cpu(), here.t().matmul(here)));
  EXPECT_THROW((void)there.add(here), c10::Error);
  EXPECT_THROW((void)there.mm(here.t()), c10::Error);
  EXPECT_THROW((void)there.index_select(0, at::tensor({2, 0}, at::kLong)), c10::Error);
  EXPECT_THROW((void)here.index_select(0, at::tensor({2, 0}, at::kLong).to(pretend_device())),
               c10::Error);
  EXPECT_DEATH(
      {
        volatile float first = *there.const_data_ptr<float>();
        (void)first;
      },
      "");
}

TEST(PretendDevice, NamesOfDevices) {
  (void)pretend_device();
  EXPECT_EQ(parse_device("cpu", "devices.policy"), at::Device(at::kCPU));
  EXPECT_EQ(parse_device("cuda", "devices.policy"), at::Device(at::kCUDA, 0));
  EXPECT_EQ(parse_device("cuda", "x", [] { return c10::DeviceIndex{3}; }),
            at::Device(at::kCUDA, 3));
  EXPECT_EQ(parse_device("cuda:1", "devices.policy"), at::Device(at::kCUDA, 1));
  EXPECT_EQ(parse_device("pretend", "devices.policy"), pretend_device());
  for (const char* name : {"gpu", "", "cuda:", "cuda:-1", "cuda 0", "mps", "cuda:x"}) {
    try {
      (void)parse_device(name, "devices.policy");
      ADD_FAILURE() << name;
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), HasSubstr("devices.policy: `" + std::string(name) + "`"));
    }
  }
  EXPECT_FALSE(device_problem(at::kCPU));
  EXPECT_FALSE(device_problem(pretend_device()));
#ifndef LEASH_CUDA
  EXPECT_THAT(device_problem(at::Device(at::kCUDA, 0)).value_or(""), HasSubstr("`make cuda`"));
#endif
}

// A decoder and an adapter on either side, with equal numbers.
struct Sides {
  Sides(const Checkpoint& checkpoint, at::ScalarType dtype, Quantize quantize,
        const LoraConfig& lora)
      : here(Decoder::load(checkpoint, {.dtype = dtype, .quantize = quantize})),
        there(Decoder::load(checkpoint,
                            {.dtype = dtype, .quantize = quantize, .device = pretend_device()})),
        adapter_here(tiny_adapter(*here, 3, 0.3, lora)),
        adapter_there(adapter_here.to(pretend_device())) {}

  std::shared_ptr<const Decoder> here, there;
  Adapter adapter_here, adapter_there;
};

struct DeviceCase {
  at::ScalarType dtype = at::kFloat;
  Quantize quantize = Quantize::none;
  bool recompute = false;
  bool drops = false;
  std::vector<std::vector<int64_t>> texts = kTinyTexts;
  testing::TinyOptions model = {};
  double tolerance = 2e-5;
};

struct DeviceResult {
  at::Tensor logits, logprobs, entropies, loss;
  std::vector<at::Tensor> gradients, loss_gradients;
};

DeviceResult run(const Decoder& decoder, const Adapter& adapter, const DeviceCase& c) {
  const PackedTexts texts = pack_shared(std::vector<TokenSpan>(c.texts.begin(), c.texts.end()));
  const PackedTokens& tokens = texts.tokens;
  const at::Tensor targets = tokens.ids.flip(0).contiguous();
  DropoutKey dropout{.seed = 5, .step = 2};
  for (size_t i = 0; i < tokens.lengths.size(); ++i) dropout.samples.push_back(10 + i);
  const ForwardOptions options{.dropout = c.drops ? &dropout : nullptr,
                               .recompute_blocks = c.recompute};
  const auto weights = at::linspace(-1, 2, tokens.ids.size(0), at::kFloat);
  const auto hidden = [&] { return decoder.forward(tokens, adapter, options); };
  DeviceResult result;
  const auto scores = decoder.token_scores(hidden(), targets, 0.7, adapter);
  EXPECT_EQ(scores.logprobs.device(), decoder.device());
  result.logprobs = scores.logprobs.detach().cpu();
  result.entropies = scores.entropies.cpu();
  result.logits = decoder.logits(hidden(), adapter).detach().cpu();
  const auto loss = decoder.cross_entropy(hidden(), targets, 0.1, 3.0, adapter);
  result.loss = loss.loss.detach().cpu();
  const at::Tensor sum =
      scores.logprobs.mul(weights.to(scores.logprobs.device(), scores.logprobs.scalar_type()))
          .sum();
  for (const at::Tensor& gradient : torch::autograd::grad({sum}, adapter.parameters())) {
    EXPECT_EQ(gradient.device(), decoder.device());
    result.gradients.push_back(gradient.cpu());
  }
  for (const at::Tensor& gradient : torch::autograd::grad({loss.loss}, adapter.parameters())) {
    result.loss_gradients.push_back(gradient.cpu());
  }
  return result;
}

void expect_equal_sides(const DeviceCase& c) {
  const LoraConfig lora{
      .r = 4, .lora_alpha = 8, .lora_dropout = c.drops ? 0.3 : 0.0, .target_modules = "all-linear"};
  const Sides sides(tiny_checkpoint(c.model), c.dtype, c.quantize, lora);
  EXPECT_EQ(sides.there->device(), pretend_device());
  EXPECT_EQ(sides.there->weights_digest(), sides.here->weights_digest());
  EXPECT_EQ(sides.there->weight_bytes(), sides.here->weight_bytes());
  const DeviceResult here = run(*sides.here, sides.adapter_here, c);
  const DeviceResult there = run(*sides.there, sides.adapter_there, c);
  const double tolerance = c.tolerance;
  EXPECT_TRUE(all_close(there.logits, here.logits, tolerance, tolerance));
  EXPECT_TRUE(all_close(there.logprobs, here.logprobs, tolerance, tolerance));
  EXPECT_TRUE(all_close(there.entropies, here.entropies, tolerance, tolerance));
  EXPECT_TRUE(all_close(there.loss, here.loss, tolerance, tolerance));
  ASSERT_EQ(there.gradients.size(), here.gradients.size());
  for (size_t i = 0; i < here.gradients.size(); ++i) {
    SCOPED_TRACE(sides.adapter_here.named_tensors()[i].first);
    const double scale = here.gradients[i].abs().max().item<double>();
    EXPECT_TRUE(all_close(there.gradients[i], here.gradients[i], 0, tolerance * scale));
    const double loss_scale = here.loss_gradients[i].abs().max().item<double>();
    EXPECT_TRUE(
        all_close(there.loss_gradients[i], here.loss_gradients[i], 0, tolerance * loss_scale));
  }
}

TEST(PretendDevice, LogitsAndGradientsAreTheCpus) { expect_equal_sides({}); }

TEST(PretendDevice, Float64ToItsLastDigits) {
  expect_equal_sides({.dtype = at::kDouble, .tolerance = 1e-11});
}

TEST(PretendDevice, BiasesAndAHeadOfItsOwn) {
  expect_equal_sides({.model = {.tie_word_embeddings = false, .qkv_bias = true}});
}

TEST(PretendDevice, RecomputedBlocksAndDropout) {
  expect_equal_sides({.recompute = true, .drops = true});
}

TEST(PretendDevice, ASharedPrefix) {
  std::vector<std::vector<int64_t>> texts = kTinyTexts;
  for (auto& text : texts) {
    text.insert(text.begin(), {3, 1, 4, 1, 5, 9, 2, 6, 5, 3});
  }
  expect_equal_sides({.texts = texts});
}

TEST(PretendDevice, QuantizedWeights) {
  for (const Quantize quantize : {Quantize::nf4, Quantize::int8}) {
    SCOPED_TRACE(std::string(enum_name(quantize)));
    expect_equal_sides({.quantize = quantize});
  }
}

TEST(PretendDevice, TrainedCopiesOfWeights) {
  const Checkpoint checkpoint = tiny_checkpoint({.tie_word_embeddings = false, .qkv_bias = true});
  const auto here = Decoder::load(checkpoint);
  const auto there = Decoder::load(checkpoint, {.device = pretend_device()});
  const LoraConfig config{.target_modules = "all-linear",
                          .bias = LoraBias::all,
                          .modules_to_save = {"lm_head", "input_layernorm"}};
  const auto values = [](const Decoder& decoder) {
    return [&decoder](int64_t module, bool bias) { return decoder.base_value(module, bias); };
  };
  const Adapter a = Adapter::create(config, here->modules(), 1, values(*here));
  const Adapter b =
      Adapter::create(config, there->modules(), 1, values(*there)).to(there->device());
  const PackedTokens tokens = pack(kTinyTexts);
  const auto gradients = [&](const Decoder& decoder, const Adapter& adapter) {
    const at::Tensor hidden = decoder.forward(tokens, adapter);
    const auto scores = decoder.token_scores(hidden, tokens.ids.flip(0), 1.0, adapter);
    return torch::autograd::grad({scores.logprobs.sum()}, adapter.parameters(), {}, {}, false,
                                 /*allow_unused=*/true);
  };
  const auto left = gradients(*here, a), right = gradients(*there, b);
  ASSERT_EQ(left.size(), right.size());
  for (size_t i = 0; i < left.size(); ++i) {
    ASSERT_EQ(left[i].defined(), right[i].defined());
    if (!left[i].defined()) continue;
    EXPECT_TRUE(all_close(right[i].cpu(), left[i], 1e-4, 2e-4));
  }
}

TEST(PretendDevice, ACpuAdapterIsRefused) {
  const auto there = Decoder::load(tiny_checkpoint(), {.device = pretend_device()});
  const Adapter here = tiny_adapter(*testing::tiny_decoder());
  EXPECT_THROW((void)there->forward(pack(kTinyTexts), here), c10::Error);
}

TEST(PretendDevice, DecodedRowsAreTheCpusBits) {
  const at::Tensor weight = noise({37, 64}, 4);
  const at::Tensor odd = noise({7, 33}, 5);
  for (const auto& rows : {nf4_rows(quantize_nf4(weight)), nf4_rows(quantize_nf4(odd))}) {
    const auto there = rows->to(pretend_device());
    EXPECT_EQ(there->bytes(), rows->bytes());
    const std::vector<int64_t> shape = {4, rows->num_columns()};
    const at::Tensor a = at::ones(shape), b = at::ones(shape, at::TensorOptions(pretend_device()));
    rows->decode(3, 4, a.mutable_data_ptr<float>());
    there->decode_into(3, 4, b);
    EXPECT_TRUE(same_bits(b.cpu(), a));
  }
  const auto part = quantized_weight({nf4_rows(quantize_nf4(weight))->to(pretend_device()),
                                      nf4_rows(quantize_nf4(weight))->to(pretend_device())});
  const at::Tensor ids = at::tensor({40, 2, 73}, at::kLong);
  EXPECT_TRUE(same_bits(part->rows(ids.to(pretend_device())).cpu(),
                        part->dense().cpu().index_select(0, ids)));
}

TEST(PretendDevice, AHeadMoves) {
  const LinearHead head{.weight = noise({2, 32}, 6)};
  const at::Tensor x = noise({5, 32}, 7);
  EXPECT_TRUE(same_bits(head.to(pretend_device())(x.to(pretend_device())).cpu(), head(x)));
}

}  // namespace
}  // namespace leash
