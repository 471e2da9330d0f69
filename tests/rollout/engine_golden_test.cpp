// The engine's greedy answers on the real model against transformers
// (tests/golden/make_decoder.py).
#include <gtest/gtest.h>

#include "models/io/checkpoint.h"
#include "models/io/safetensors.h"
#include "rollout/engine.h"
#include "tests/support/files.h"

namespace leash {
namespace {

constexpr int kPrompts = 5;
constexpr int64_t kTokens = 64;

std::vector<int64_t> read_ids(const TensorSource& golden, const std::string& name) {
  const at::Tensor ids = golden.read(name, at::kLong).contiguous();
  return {ids.const_data_ptr<int64_t>(), ids.const_data_ptr<int64_t>() + ids.numel()};
}

// All prompts together, and with slots that change hands; up to the first step whose two best
// logits are so close (1e-4) that rounding may decide, from where on the texts may differ.
TEST(GoldenSmolLM2, GreedyAnswersOfTheEngineEqualTransformers) {
  const RolloutEngine engine(Decoder::load(open_checkpoint(testing::smollm2())), std::nullopt);
  const auto golden =
      open_safetensors(testing::repository("tests/golden/decoder_smollm2.safetensors"));
  std::vector<Prompt> prompts;
  for (int i = 0; i < kPrompts; ++i) {
    prompts.push_back({.ids = read_ids(*golden, "ids." + std::to_string(i))});
  }
  GenerationConfig config;
  config.sampling.temperature = 0;
  config.max_new_tokens = kTokens;
  for (const int64_t max_batch : {5, 2}) {
    config.max_batch = max_batch;
    const auto answers = engine.generate(prompts, nullptr, config);
    int64_t compared = 0;
    for (int i = 0; i < kPrompts; ++i) {
      const auto expected = read_ids(*golden, "greedy." + std::to_string(i));
      const at::Tensor gaps = golden->read("greedy_gap." + std::to_string(i), at::kFloat);
      ASSERT_EQ(answers[i].token_ids.size(), static_cast<size_t>(kTokens));
      for (int64_t j = 0; j < kTokens && gaps[j].item<float>() >= 1e-4; ++j, ++compared) {
        ASSERT_EQ(answers[i].token_ids[j], expected[j]) << "prompt " << i << ", token " << j;
      }
    }
    EXPECT_GT(compared, kPrompts * kTokens / 2);
  }
}

}  // namespace
}  // namespace leash
