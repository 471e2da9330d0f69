// Every family's greedy answers against transformers (tests/golden/make_families.py), and the
// log-probs of decoding against those of whole texts.
#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include "rollout/engine.h"
#include "tests/support/golden_family.h"
#include "tests/support/tensors.h"

namespace leash::testing {
namespace {

class GoldenFamilyAnswers : public ::testing::TestWithParam<std::string> {
 protected:
  GoldenFamily family_{GetParam()};

  static GenerationConfig greedy(int64_t tokens) {
    GenerationConfig config;
    config.sampling.temperature = 0;
    config.max_new_tokens = tokens;
    return config;
  }
};

// Beside another prompt, so that the two share steps and one of them begins with the other's slot.
TEST_P(GoldenFamilyAnswers, GreedyTokensEqualTransformers) {
  const RolloutEngine engine(family_.decoder, std::nullopt);
  const auto expected = family_.ids("greedy");
  const std::vector<Prompt> prompts = {{.ids = family_.texts[1], .sample = 0},
                                       {.ids = family_.ids("prompt"), .sample = 1}};
  for (const int64_t max_batch : {2, 1}) {
    GenerationConfig config = greedy(static_cast<int64_t>(expected.size()));
    config.max_batch = max_batch;
    EXPECT_EQ(engine.generate(prompts, nullptr, config)[1].token_ids, expected)
        << "batches of " << max_batch;
  }
}

TEST_P(GoldenFamilyAnswers, DecodingGivesTheLogProbsOfWholeTexts) {
  const c10::AutoGradMode no_grad(false);
  const RolloutEngine engine(family_.decoder, std::nullopt);
  const Adapter adapter = family_.adapter();
  GenerationConfig config = greedy(12);
  config.sampling.temperature = 1;
  const Completion answer =
      engine.generate({{.ids = family_.texts[1], .sample = 5}}, &adapter, config)[0];
  std::vector<int64_t> text = answer.prompt_ids;
  text.insert(text.end(), answer.token_ids.begin(), answer.token_ids.end());
  const at::Tensor hidden = family_.decoder->forward(pack_one(text), adapter);
  const auto answered = static_cast<int64_t>(answer.token_ids.size());
  const at::Tensor whole = logprobs_of(*family_.decoder, hidden, text, adapter);
  EXPECT_TRUE(all_close(at::tensor(answer.logprobs, at::kFloat),
                        whole.narrow(0, whole.numel() - answered, answered), 0, 1e-5));
}

INSTANTIATE_TEST_SUITE_P(Families, GoldenFamilyAnswers, ::testing::ValuesIn(golden_families(false)),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace leash::testing
