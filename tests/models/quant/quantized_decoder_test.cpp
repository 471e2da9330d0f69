// Decoders whose frozen weights are quantised: gradients of adapters, memory, equality with the
// dequantised model.
#include <ATen/TensorOperators.h>
#include <ATen/ops/linspace.h>
#include <c10/core/GradMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "models/decoder/load_weight.h"
#include "models/errors.h"
#include "models/random/random.h"
#include "tests/support/files.h"
#include "tests/support/tensors.h"
#include "tests/support/tiny_model.h"

namespace leash {
namespace {

using testing::all_close;
using testing::same_bits;

const std::vector<std::vector<int64_t>> kTexts = {{5, 17, 80, 3, 3}, {1}, {95, 40, 7}};

// Offers every second matrix as F16 blocks, the others as F32, as a GGUF might.
class HalfTensors final : public TensorSource {
 public:
  explicit HalfTensors(std::shared_ptr<const TensorSource> source) : source_(std::move(source)) {}
  std::vector<std::string> names() const override { return source_->names(); }
  bool contains(std::string_view name) const override { return source_->contains(name); }
  std::vector<int64_t> shape(std::string_view name) const override { return source_->shape(name); }
  at::Tensor read(std::string_view name, at::ScalarType dtype) const override {
    return source_->read(name, stored(name)).to(dtype);
  }
  std::optional<BlockType> block_type(std::string_view name) const override {
    if (shape(name).size() != 2) return std::nullopt;
    return stored(name) == at::kHalf ? BlockType::f16 : BlockType::f32;
  }
  std::optional<BlockMatrix> blocks(std::string_view name) const override {
    const auto type = block_type(name);
    if (!type) return std::nullopt;
    return BlockMatrix{.type = *type,
                       .columns = shape(name)[1],
                       .bytes = source_->read(name, stored(name)).contiguous().view(at::kByte)};
  }
  std::string origin() const override { return "half"; }

 private:
  static at::ScalarType stored(std::string_view name) {
    return name.find("k_proj") == name.npos && name.find("up_proj") == name.npos ? at::kHalf
                                                                                 : at::kFloat;
  }
  std::shared_ptr<const TensorSource> source_;
};

Checkpoint half_checkpoint(const testing::TinyOptions& options = {}) {
  Checkpoint checkpoint = testing::tiny_checkpoint(options);
  checkpoint.tensors = std::make_shared<HalfTensors>(checkpoint.tensors);
  return checkpoint;
}

at::Tensor logits_of(const Decoder& decoder, const std::vector<std::vector<int64_t>>& texts,
                     const AdapterRows& adapters = {}) {
  const c10::AutoGradMode no_grad(false);
  return decoder.logits(decoder.forward(pack(texts), adapters), adapters);
}

// All of an adapter's gradients along a random direction, by central differences in float64.
void check_gradients(const Decoder& decoder, const ForwardOptions& options) {
  const Adapter adapter = testing::tiny_adapter(decoder);
  const PackedTokens tokens = pack(kTexts);
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
    const at::Tensor direction =
        normal_tensor(DrawKey{9, Purpose::noise, i}, parameters[i].sizes(), 0, 1).to(at::kDouble);
    const at::Tensor values = parameters[i].detach();
    constexpr double kStep = 1e-5;
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

TEST(QuantizedDecoder, AdapterGradients) {
  for (const bool tied : {true, false}) {
    for (const Quantize quantize : {Quantize::nf4, Quantize::int8, Quantize::keep}) {
      SCOPED_TRACE(std::string(enum_name(quantize)) + (tied ? ", tied" : ""));
      const auto decoder =
          Decoder::load(half_checkpoint({.tie_word_embeddings = tied}), at::kDouble, quantize);
      check_gradients(*decoder, {});
      check_gradients(*decoder, {.recompute_blocks = true});
    }
  }
}

TEST(QuantizedDecoder, KeptBlocksSayWhatTheirNumbersSay) {
  const auto kept = Decoder::load(half_checkpoint({.qkv_bias = true}), at::kFloat, Quantize::keep);
  const auto dense = Decoder::load(half_checkpoint({.qkv_bias = true}));
  EXPECT_EQ(kept->weights_digest(), dense->weights_digest());
  EXPECT_TRUE(all_close(logits_of(*kept, kTexts), logits_of(*dense, kTexts), 0, 1e-4));
  EXPECT_LT(kept->weight_bytes(), dense->weight_bytes());
  EXPECT_EQ(kept->num_parameters(), dense->num_parameters());
  for (size_t i = 0; i < kept->modules().size(); ++i) {
    const auto module = static_cast<int64_t>(i);
    EXPECT_TRUE(same_bits(kept->base_value(module, false), dense->base_value(module, false)));
  }
}

TEST(QuantizedDecoder, DenseBytes) {
  const auto dense = testing::tiny_decoder();
  EXPECT_EQ(dense->weight_bytes(), 4 * dense->num_parameters());
}

TEST(QuantizedDecoder, AStepLeavesTheBaseAlone) {
  for (const Quantize quantize : {Quantize::nf4, Quantize::int8, Quantize::keep}) {
    const auto decoder = Decoder::load(half_checkpoint(), at::kFloat, quantize);
    const std::string before = decoder->weights_digest();
    const Adapter adapter = testing::tiny_adapter(*decoder);
    const PackedTokens tokens = pack(kTexts);
    const auto loss = [&] {
      const at::Tensor hidden = decoder->forward(tokens, adapter);
      return decoder->token_scores(hidden, tokens.ids, 1.0, adapter).logprobs.mean().neg();
    };
    const double first = loss().item<double>();
    for (int step = 0; step < 3; ++step) {
      const auto parameters = adapter.parameters();
      const auto gradients = torch::autograd::grad({loss()}, parameters);
      const c10::AutoGradMode no_grad(false);
      for (size_t i = 0; i < parameters.size(); ++i) parameters[i].sub_(gradients[i], 0.02);
    }
    EXPECT_LT(loss().item<double>(), first) << enum_name(quantize);
    EXPECT_EQ(decoder->weights_digest(), before);
  }
}

TEST(QuantizedDecoder, OnlyLinearModulesAreQuantisedOnLoad) {
  const auto dense = testing::tiny_decoder();
  for (const Quantize quantize : {Quantize::nf4, Quantize::int8}) {
    const auto decoder = Decoder::load(testing::tiny_checkpoint(), at::kFloat, quantize);
    for (size_t i = 0; i < dense->modules().size(); ++i) {
      const ModuleInfo& info = dense->modules()[i];
      const auto module = static_cast<int64_t>(i);
      const bool equal = decoder->base_value(module, false).equal(dense->base_value(module, false));
      EXPECT_EQ(equal, info.kind != ModuleKind::linear || info.path == "lm_head") << info.path;
    }
  }
}

void expect_near_float32(at::ScalarType dtype) {
  for (const Quantize quantize : {Quantize::nf4, Quantize::int8, Quantize::keep}) {
    const auto narrow = Decoder::load(half_checkpoint(), dtype, quantize);
    const auto wide = Decoder::load(half_checkpoint(), at::kFloat, quantize);
    const at::Tensor expected = logits_of(*wide, kTexts);
    const at::Tensor error = logits_of(*narrow, kTexts) - expected;
    EXPECT_LT((error.norm() / expected.norm()).item<double>(), 0.03) << enum_name(quantize);
    for (size_t i = 0; i < narrow->modules().size(); ++i) {
      if (narrow->modules()[i].kind != ModuleKind::norm) continue;
      const auto module = static_cast<int64_t>(i);  // of the file's precision, as with PEFT
      EXPECT_TRUE(same_bits(narrow->base_value(module, false), wide->base_value(module, false)));
    }
  }
}

TEST(QuantizedDecoder, Bfloat16) { expect_near_float32(at::kBFloat16); }
TEST(QuantizedDecoder, Float16) { expect_near_float32(at::kHalf); }

TEST(QuantizedDecoder, KeepNeedsSomethingToKeep) {
  try {
    Decoder::load(testing::tiny_checkpoint(), at::kFloat, Quantize::keep);
    FAIL() << "no error";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("tiny: quantize `keep`"));
  }
}

TEST(QuantizedSmolLM2, KeptBlocksEqualTheDequantisedModel) {
  const Checkpoint checkpoint = open_checkpoint(testing::smollm2());
  const auto dense = Decoder::load(checkpoint);
  const auto kept = Decoder::load(checkpoint, at::kFloat, Quantize::keep);
  // Equal bits of all weights: the permuted rows of q and k are in order too.
  EXPECT_EQ(kept->weights_digest(), dense->weights_digest());
  EXPECT_LT(4 * kept->weight_bytes(), dense->weight_bytes());
  std::vector<std::vector<int64_t>> texts(3);
  for (int64_t i = 0; i < 45; ++i) texts[0].push_back(1000 + 37 * i);  // more rows than a few
  texts[1] = {1, 2, 3};
  texts[2] = {49000};
  EXPECT_TRUE(all_close(logits_of(*kept, texts), logits_of(*dense, texts), 0, 1e-3));
  EXPECT_TRUE(all_close(logits_of(*kept, {texts[1]}), logits_of(*dense, {texts[1]}), 0, 1e-3));
}

}  // namespace
}  // namespace leash
