// The decoder against transformers and PEFT (tests/golden/make_decoder.py).
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "models/decoder/decoder.h"
#include "models/io/checkpoint.h"
#include "models/io/safetensors.h"
#include "models/lora/peft_adapter.h"
#include "tests/support/files.h"
#include "tests/support/tensors.h"

namespace leash {
namespace {

using testing::all_close;
using testing::repository;

std::vector<int64_t> ids_of(const TensorSource& golden, int i) {
  const at::Tensor ids = golden.read("ids." + std::to_string(i), at::kLong).contiguous();
  return {ids.const_data_ptr<int64_t>(), ids.const_data_ptr<int64_t>() + ids.numel()};
}

class GoldenTinyDecoder : public ::testing::Test {
 protected:
  std::shared_ptr<const TensorSource> golden_ =
      open_safetensors(repository("tests/golden/decoder_tiny.safetensors"));
  std::shared_ptr<const Decoder> decoder_ =
      Decoder::load(open_checkpoint(repository("tests/golden/tiny_llama")));
  Adapter adapter_ =
      load_adapter(repository("tests/golden/tiny_llama_adapter"), decoder_->modules());

  at::Tensor golden(const std::string& name, int i) const {
    return golden_->read(name + "." + std::to_string(i), at::kFloat);
  }
};

TEST_F(GoldenTinyDecoder, LogitsEqualTransformers) {
  const c10::AutoGradMode no_grad(false);
  std::vector<std::vector<int64_t>> texts;
  std::vector<at::Tensor> expected;
  for (int i = 0; i < 4; ++i) {
    texts.push_back(ids_of(*golden_, i));
    const at::Tensor hidden = decoder_->forward(pack_one(texts.back()));
    EXPECT_TRUE(all_close(hidden, golden("hidden", i), 0, 1e-5));
    EXPECT_TRUE(all_close(decoder_->logits(hidden), golden("logits", i), 0, 1e-5));
    expected.push_back(golden("logits", i));
  }
  EXPECT_TRUE(
      all_close(decoder_->logits(decoder_->forward(pack(texts))), at::cat(expected), 0, 1e-5));
}

// In float64 on both sides, though transformers takes norms and softmax in fp32 whatever the type.
// In fp32 two right answers are 1e-5 apart here, PEFT's own among them; there the adapter is met by
// the log-probs and gradients below.
TEST_F(GoldenTinyDecoder, AdapterLogitsEqualPeft) {
  const c10::AutoGradMode no_grad(false);
  const auto wide =
      Decoder::load(open_checkpoint(repository("tests/golden/tiny_llama")), at::kDouble);
  const Adapter adapter = adapter_.to(at::kDouble);
  for (int i = 0; i < 4; ++i) {
    const at::Tensor hidden = wide->forward(pack_one(ids_of(*golden_, i)), adapter);
    EXPECT_TRUE(all_close(wide->logits(hidden, adapter), golden("adapted", i), 0, 1e-5));
  }
}

TEST_F(GoldenTinyDecoder, GradientsEqualPeft) {
  const auto ids = ids_of(*golden_, 2);
  const int64_t answers = static_cast<int64_t>(ids.size()) - 1;
  const PackedTokens tokens = pack_one(ids);
  adapter_.set_trainable(true);
  const at::Tensor hidden = decoder_->forward(tokens, adapter_).narrow(0, 0, answers);
  const at::Tensor logprobs =
      decoder_->token_scores(hidden, tokens.ids.narrow(0, 1, answers), 0.7, adapter_).logprobs;
  EXPECT_TRUE(all_close(logprobs, golden_->read("gradient_logprobs", at::kFloat), 1e-5, 1e-5));
  const at::Tensor weights = golden_->read("gradient_weights", at::kFloat);
  const auto named = adapter_.named_tensors();
  const auto gradients =
      torch::autograd::grad({logprobs.mul(weights).sum()}, adapter_.parameters());
  ASSERT_EQ(named.size(), gradients.size());
  for (size_t i = 0; i < named.size(); ++i) {
    std::string key = "grad." + named[i].first;
    if (!golden_->contains(key))
      key.insert(key.rfind('.'), ".base_layer");  // PEFT's name of a bias inside a LoRA layer
    ASSERT_TRUE(golden_->contains(key)) << key;
    const at::Tensor expected = golden_->read(key, at::kFloat);
    EXPECT_TRUE(all_close(gradients[i], expected, 1e-4, 1e-5 * expected.abs().max().item<float>()))
        << key;
  }
}

class GoldenSmolLM2 : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { decoder_ = Decoder::load(open_checkpoint(testing::smollm2())); }
  static void TearDownTestSuite() { decoder_.reset(); }
  static std::shared_ptr<const Decoder> decoder_;
  std::shared_ptr<const TensorSource> golden_ =
      open_safetensors(repository("tests/golden/decoder_smollm2.safetensors"));
};
std::shared_ptr<const Decoder> GoldenSmolLM2::decoder_;

TEST_F(GoldenSmolLM2, LogitsEqualTransformers) {
  const c10::AutoGradMode no_grad(false);
  const at::Tensor picked = golden_->read("picked", at::kLong);
  for (int i = 0; i < 5; ++i) {
    const at::Tensor logits = decoder_->logits(decoder_->forward(pack_one(ids_of(*golden_, i))));
    EXPECT_TRUE(all_close(logits.index_select(1, picked),
                          golden_->read("logits." + std::to_string(i), at::kFloat), 0, 1e-3));
    EXPECT_TRUE(all_close(logits.logsumexp(at::IntArrayRef{-1}),
                          golden_->read("logsumexp." + std::to_string(i), at::kFloat), 0, 1e-3));
  }
}

// Each of the oracle's greedy tokens is our most likely one given what came before, wherever its
// two best logits differ by more than 1e-4.
TEST_F(GoldenSmolLM2, GreedyContinuationEqualsTransformers) {
  const c10::AutoGradMode no_grad(false);
  for (int i = 0; i < 5; ++i) {
    std::vector<int64_t> ids = ids_of(*golden_, i);
    const int64_t prompt = static_cast<int64_t>(ids.size());
    const at::Tensor steps = golden_->read("greedy." + std::to_string(i), at::kLong);
    const at::Tensor gaps = golden_->read("greedy_gap." + std::to_string(i), at::kFloat);
    for (int64_t j = 0; j < 64; ++j) ids.push_back(steps[j].item<int64_t>());
    const at::Tensor hidden = decoder_->forward(pack_one(ids)).narrow(0, prompt - 1, 64);
    const at::Tensor best = decoder_->logits(hidden).argmax(-1);
    for (int64_t j = 0; j < 64; ++j) {
      if (gaps[j].item<float>() <= 1e-4) continue;
      EXPECT_EQ(best[j].item<int64_t>(), steps[j].item<int64_t>())
          << "prompt " << i << ", token " << j;
    }
  }
}

}  // namespace
}  // namespace leash
