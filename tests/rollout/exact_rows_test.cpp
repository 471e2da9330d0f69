// The log-prob recorded while sampling is the one that training computes, bit for bit.
#include "models/decoder/exact_rows.h"

#include <ATen/Parallel.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <ranges>

#include "models/decoder/packed_texts.h"
#include "rollout/engine.h"
#include "rollout/scoring.h"
#include "tests/support/tiny_model.h"

namespace leash {
namespace {

using testing::tiny_adapter;
using testing::TinyOptions;

const TinyOptions kExactTiny{.hidden_size = 48,
                             .num_heads = 6,
                             .num_kv_heads = 2,
                             .head_dim = 16,
                             .vocab_size = 700,
                             .max_positions = 160};

struct Base {
  std::string name;
  at::ScalarType dtype = at::kFloat;
  Quantize quantize = Quantize::none;
};

class ExactRows : public ::testing::TestWithParam<Base> {
 protected:
  void SetUp() override {
    if (!machine_has_exact_rows()) GTEST_SKIP() << "no AVX-512 here";
    decoder_ =
        Decoder::load(testing::tiny_checkpoint(kExactTiny), GetParam().dtype, GetParam().quantize);
    ASSERT_TRUE(rows_are_exact(decoder_->config(), decoder_->weight_dtype(), decoder_->device()));
    adapter_.emplace(tiny_adapter(*decoder_, 3, 0.1));
  }
  void TearDown() override { at::set_num_threads(threads_); }

  // `shared` tokens that all begin with, then some of its own.
  static std::vector<Prompt> prompts(int64_t shared) {
    std::vector<Prompt> result;
    for (int64_t i = 0; i < 11; ++i) {
      Prompt prompt{.ids = {}, .sample = static_cast<uint64_t>(i)};
      for (int64_t t = 0; t < shared; ++t) prompt.ids.push_back((t * 37 + 5) % 700);
      for (int64_t t = 0; t < 1 + i * 5 % 23; ++t) prompt.ids.push_back((i * 91 + t * 13) % 700);
      result.push_back(prompt);
    }
    return result;
  }
  GenerationConfig config(int64_t max_batch) const {
    GenerationConfig config;
    config.sampling.temperature = 0.7;
    config.max_new_tokens = 21;
    config.max_batch = max_batch;
    config.stop_token_ids = {3, 4, 5, 6, 7, 8, 9, 10, 11, 12};  // so that lengths differ
    return config;
  }
  std::vector<Completion> generate(const std::vector<Prompt>& prompts, int64_t max_batch) const {
    return RolloutEngine(decoder_, std::nullopt).generate(prompts, &*adapter_, config(max_batch));
  }
  // The log-probs of an optimizer step's forward pass, with gradients.
  std::vector<double> trained(std::span<const ScoredText> texts) const {
    std::vector<AnswerText> answers;
    for (const ScoredText& text : texts)
      answers.push_back({.ids = text.ids, .answer_begin = text.answer_begin});
    const PackedAnswers packed = pack_answers(answers);
    const at::Tensor hidden =
        decoder_->forward(packed.contexts.tokens, *adapter_).index_select(0, packed.rows);
    const at::Tensor logprobs =
        decoder_->token_scores(hidden, packed.targets, 0.7, *adapter_).logprobs;
    EXPECT_TRUE(logprobs.requires_grad());
    const at::Tensor wide = logprobs.detach().to(at::kDouble);
    const double* data = wide.const_data_ptr<double>();
    return {data, data + wide.numel()};
  }

  std::shared_ptr<const Decoder> decoder_;
  std::optional<Adapter> adapter_;
  int threads_ = at::get_num_threads();
};

std::vector<ScoredText> texts_of(const std::vector<Completion>& completions) {
  std::vector<ScoredText> texts;
  for (const Completion& completion : completions) {
    ScoredText& text = texts.emplace_back();
    text.ids = completion.prompt_ids;
    text.answer_begin = static_cast<int64_t>(text.ids.size());
    text.ids.insert(text.ids.end(), completion.token_ids.begin(), completion.token_ids.end());
  }
  return texts;
}

TEST_P(ExactRows, AnswersDoNotDependOnCompanyOrderOrThreads) {
  for (const int64_t shared : {0, 29}) {
    std::vector<Prompt> all = prompts(shared);
    std::vector<Completion> alone;
    at::set_num_threads(1);
    for (const Prompt& prompt : all) alone.push_back(generate({prompt}, 1)[0]);
    struct Company {
      int threads;
      int64_t max_batch;
      bool turned;
    };
    for (const auto& [threads, max_batch, turned] :
         {Company{2, 64, false}, Company{1, 64, true}, Company{2, 3, true}, Company{1, 1, true}}) {
      at::set_num_threads(threads);
      std::vector<Prompt> some = all;
      if (turned) std::ranges::reverse(some);
      std::vector<Completion> found = generate(some, max_batch);
      if (turned) std::ranges::reverse(found);
      for (size_t i = 0; i < all.size(); ++i) {
        EXPECT_EQ(found[i].token_ids, alone[i].token_ids);
        EXPECT_EQ(found[i].logprobs, alone[i].logprobs) << shared << " " << max_batch;
        EXPECT_EQ(found[i].entropies, alone[i].entropies);
      }
    }
  }
}

TEST_P(ExactRows, LogProbsOfSamplingAreThoseOfScoringAndTraining) {
  for (const int64_t shared : {0, 29}) {
    const std::vector<Completion> sampled = generate(prompts(shared), 4);
    const std::vector<ScoredText> texts = texts_of(sampled);
    for (const int64_t micro_batch_tokens : {30, 90, 4096}) {
      for (const bool by_prompt : {false, true}) {
        const auto scores = score_texts(
            *decoder_, &*adapter_, texts,
            {.temperature = 0.7, .micro_batch_tokens = micro_batch_tokens, .by_prompt = by_prompt});
        for (size_t i = 0; i < texts.size(); ++i)
          EXPECT_EQ(scores[i].logprobs, sampled[i].logprobs) << micro_batch_tokens;
      }
    }
    std::vector<double> all;
    for (const Completion& one : sampled)
      all.insert(all.end(), one.logprobs.begin(), one.logprobs.end());
    EXPECT_EQ(trained(texts), all);
    for (size_t i = 0; i < texts.size(); ++i)
      EXPECT_EQ(trained(std::span(texts).subspan(i, 1)), sampled[i].logprobs);
  }
}

INSTANTIATE_TEST_SUITE_P(Bases, ExactRows,
                         ::testing::Values(Base{"Float32"}, Base{"Bfloat16", at::kBFloat16},
                                           Base{"Nf4", at::kFloat, Quantize::nf4},
                                           Base{"Nf4Bfloat16", at::kBFloat16, Quantize::nf4},
                                           Base{"Int8", at::kFloat, Quantize::int8},
                                           Base{"Int8Bfloat16", at::kBFloat16, Quantize::int8}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace leash
