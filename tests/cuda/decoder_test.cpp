// The decoder, the engine and lanes on a GPU against the CPU.
#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "rollout/engine.h"
#include "rollout/lanes.h"
#include "rollout/scoring.h"
#include "tests/support/cuda_device.h"
#include "tests/support/tensors.h"
#include "tests/support/tiny_model.h"

namespace leash {
namespace {

using testing::all_close;
using testing::kGpu;
using testing::tiny_adapter;
using testing::tiny_checkpoint;

const std::vector<std::vector<int64_t>> kTexts = {{5, 9, 1, 77, 3}, {42}, {8, 8, 8, 90, 11, 2, 0}};

struct Result {
  at::Tensor logprobs;
  std::vector<at::Tensor> gradients;
};

Result run(const Decoder& decoder, const Adapter& adapter) {
  const PackedTokens tokens = pack(kTexts);
  const at::Tensor hidden = decoder.forward(tokens, adapter);
  const auto scores = decoder.token_scores(hidden, tokens.ids.flip(0), 0.7, adapter);
  Result result{.logprobs = scores.logprobs.detach().cpu(), .gradients = {}};
  for (const at::Tensor& gradient :
       torch::autograd::grad({scores.logprobs.sum()}, adapter.parameters())) {
    result.gradients.push_back(gradient.cpu());
  }
  return result;
}

void expect_equal_sides(at::ScalarType dtype, Quantize quantize, double tolerance) {
  const auto here = Decoder::load(tiny_checkpoint(), {.dtype = at::kFloat, .quantize = quantize});
  const auto there = Decoder::load(tiny_checkpoint(),
                                   {.dtype = dtype, .quantize = quantize, .device = testing::kGpu});
  const Adapter adapter = tiny_adapter(*here);
  const Result a = run(*here, adapter), b = run(*there, adapter.to(kGpu));
  EXPECT_TRUE(all_close(b.logprobs, a.logprobs, tolerance, tolerance));
  for (size_t i = 0; i < a.gradients.size(); ++i) {
    EXPECT_EQ(b.gradients[i].scalar_type(), at::kFloat);  // adapters train in fp32
    const double scale = a.gradients[i].abs().max().item<double>();
    EXPECT_TRUE(all_close(b.gradients[i], a.gradients[i], 0, 2 * tolerance * scale));
  }
}

TEST(CudaDecoder, LogProbsAndGradientsInFloat32) {
  LEASH_NEEDS_GPU();
  for (const Quantize quantize : {Quantize::none, Quantize::nf4, Quantize::int8}) {
    expect_equal_sides(at::kFloat, quantize, 1e-3);
  }
}

// With dropout, whose masks are the CPU's.
TEST(CudaDecoder, CrossEntropyAndItsGradients) {
  LEASH_NEEDS_GPU();
  const auto here = Decoder::load(tiny_checkpoint()),
             there = Decoder::load(tiny_checkpoint(), {.device = kGpu});
  LoraConfig config = tiny_adapter(*here).config();
  config.lora_dropout = 0.2;
  Adapter adapter = Adapter::create(config, here->modules(), 3);
  for (at::Tensor parameter : adapter.parameters()) parameter.detach().add_(0.03);
  const Adapter moved = adapter.to(kGpu);
  const DropoutKey dropout{.seed = 4, .step = 9, .samples = {3, 1, 8}};
  const PackedTokens tokens = pack(kTexts);
  for (const double smoothing : {0.0, 0.1}) {
    const auto a = here->cross_entropy(here->forward(tokens, adapter, {.dropout = &dropout}),
                                       tokens.ids.flip(0), smoothing, 13, adapter);
    const auto b = there->cross_entropy(there->forward(tokens, moved, {.dropout = &dropout}),
                                        tokens.ids.flip(0), smoothing, 13, moved);
    EXPECT_NEAR(b.nll, a.nll, 1e-4 * a.nll);
    EXPECT_EQ(b.correct, a.correct);
    EXPECT_NEAR(b.loss.item<double>(), a.loss.item<double>(), 1e-4);
    const auto da = torch::autograd::grad({a.loss}, adapter.parameters());
    const auto db = torch::autograd::grad({b.loss}, moved.parameters());
    for (size_t i = 0; i < da.size(); ++i) {
      const double scale = da[i].abs().max().item<double>();
      EXPECT_TRUE(all_close(db[i].cpu(), da[i], 0, 1e-3 * scale));
    }
  }
}

TEST(CudaDecoder, Bfloat16WithAdaptersInFloat32) {
  LEASH_NEEDS_GPU();
  expect_equal_sides(at::kBFloat16, Quantize::none, 0.15);
}

TEST(CudaDecoder, Float16WithAdaptersInFloat32) {
  LEASH_NEEDS_GPU();
  expect_equal_sides(at::kHalf, Quantize::none, 0.05);
}

TEST(CudaDecoder, ARolloutScoresAsItWasSampled) {
  LEASH_NEEDS_GPU();
  const auto decoder = Decoder::load(tiny_checkpoint(), {.device = testing::kGpu});
  const Adapter adapter = tiny_adapter(*testing::tiny_decoder()).to(kGpu);
  std::vector<Prompt> prompts;
  for (uint64_t i = 0; i < 9; ++i) prompts.push_back({kTexts[i % 3], i});
  GenerationConfig config;
  config.sampling.temperature = 0.8;
  config.max_new_tokens = 12;
  config.max_batch = 4;
  const auto answers = RolloutEngine(decoder, std::nullopt).generate(prompts, &adapter, config);
  for (const Completion& answer : answers) {
    ScoredText text{.ids = answer.prompt_ids,
                    .answer_begin = static_cast<int64_t>(answer.prompt_ids.size())};
    text.ids.insert(text.ids.end(), answer.token_ids.begin(), answer.token_ids.end());
    const auto scores =
        score_texts(*decoder, &adapter, std::vector<ScoredText>{text}, {.temperature = 0.8});
    for (size_t i = 0; i < answer.logprobs.size(); ++i) {
      EXPECT_NEAR(scores[0].logprobs[i], answer.logprobs[i], 1e-3);
    }
  }
}

// Steps that are replayed give the texts of steps that are not, with slots that empty and fill, a
// prefix that all prompts share, and answers of many lengths.
TEST(CudaDecoder, RecordedStepsAreTheStepsThatTheyRecord) {
  LEASH_NEEDS_GPU();
  for (const Quantize quantize : {Quantize::none, Quantize::nf4, Quantize::int8}) {
    const auto decoder = Decoder::load(tiny_checkpoint(), {.quantize = quantize, .device = kGpu});
    const Adapter adapter = tiny_adapter(*testing::tiny_decoder()).to(kGpu);
    std::vector<Prompt> prompts;
    for (uint64_t i = 0; i < 23; ++i) {
      std::vector<int64_t> ids(12, 7);
      for (const int64_t id : kTexts[i % 3]) ids.push_back(id);
      ids.push_back(static_cast<int64_t>(i));
      prompts.push_back({ids, i});
    }
    for (const double temperature : {0.8, 0.0}) {
      GenerationConfig config;
      config.sampling.temperature = temperature;
      config.max_new_tokens = 30;
      config.eos_token_ids = {2, 40};
      config.max_batch = 6;
      const RolloutEngine engine(decoder, std::nullopt);
      const auto recorded = engine.generate(prompts, &adapter, config);
      config.record_steps = false;
      const auto plain = engine.generate(prompts, &adapter, config);
      ASSERT_EQ(recorded.size(), plain.size());
      for (size_t i = 0; i < plain.size(); ++i) {
        EXPECT_EQ(recorded[i].token_ids, plain[i].token_ids);
        EXPECT_EQ(recorded[i].logprobs, plain[i].logprobs);
      }
    }
  }
}

// Slots of two sizes, positions of two lengths, and back: several graphs in one memory.
TEST(CudaDecoder, RecordedStepsChangeTheirShape) {
  LEASH_NEEDS_GPU();
  const testing::TinyOptions options{.max_positions = 640};
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const auto decoder = Decoder::load(tiny_checkpoint(options), {.dtype = dtype, .device = kGpu});
    const Adapter adapter = tiny_adapter(*testing::tiny_decoder()).to(kGpu);
    std::vector<Prompt> prompts;
    for (uint64_t i = 0; i < 50; ++i) {
      prompts.push_back({std::vector<int64_t>(i % 7 == 0 ? 230 : 5, static_cast<int64_t>(i)), i});
    }
    GenerationConfig config;
    config.sampling.temperature = 0.9;
    config.max_new_tokens = 90;
    config.eos_token_ids = {2, 40};
    config.max_batch = 40;
    const RolloutEngine engine(decoder, std::nullopt);
    const auto recorded = engine.generate(prompts, &adapter, config);
    config.record_steps = false;
    const auto plain = engine.generate(prompts, &adapter, config);
    for (size_t i = 0; i < plain.size(); ++i) {
      EXPECT_EQ(recorded[i].token_ids, plain[i].token_ids);
      EXPECT_EQ(recorded[i].logprobs, plain[i].logprobs);
    }
  }
}

// What one lane makes on its stream, another thread reads on its own.
TEST(CudaLanes, ResultsAreThereForWhoeverTakesThem) {
  LEASH_NEEDS_GPU();
  Lanes lanes({}, std::nullopt, 0,
              [](Role role) { return device_stream(kGpu, role == Role::actor); });
  for (int i = 0; i < 50; ++i) {
    auto product = lanes[Role::actor].run("product", [] {
      at::Tensor x = at::ones({2048, 2048}, at::TensorOptions(kGpu));
      for (int k = 0; k < 4; ++k) x = x.matmul(x).div_(2048.0);
      return x;
    });
    auto sum =
        lanes[Role::reward].run("sum", [&product] { return product.get().sum().item<double>(); });
    EXPECT_EQ(sum.get(), 2048.0 * 2048.0);
  }
}

}  // namespace
}  // namespace leash
