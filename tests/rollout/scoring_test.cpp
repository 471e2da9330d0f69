// Scoring against log_softmax over plain forwards of one text at a time.
#include "rollout/scoring.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/log_softmax.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "models/errors.h"
#include "models/random/random.h"
#include "tests/rollout/texts.h"
#include "tests/support/tensors.h"
#include "tests/support/tiny_model.h"

namespace leash {
namespace {

// Batches of other sizes go through other kernels, and log-probs here are up to 18.
constexpr double kRounding = 3e-5;

using testing::alone;
using testing::random_ids;
using testing::tiny_adapter;
using testing::tiny_decoder;
using testing::value_head;

std::vector<ScoredText> texts() {
  return {{random_ids(1, 12), 5}, {random_ids(2, 2), 1},  {random_ids(3, 64), 1},
          {random_ids(4, 9), 8},  {random_ids(5, 7), 7},  {random_ids(6, 1), 1},
          {random_ids(7, 20), 1}, {random_ids(8, 30), 13}};
}

// Those of 10 tokens and more, which all begin with the same 9.
std::vector<ScoredText> texts_with_a_prefix() {
  std::vector<ScoredText> result;
  const auto prefix = random_ids(9, 9);
  for (ScoredText& text : texts()) {
    if (text.ids.size() < 10) continue;
    std::ranges::copy(prefix, text.ids.begin());
    result.push_back(std::move(text));
  }
  return result;
}

const std::vector<std::vector<ScoredText>>& both_kinds() {
  static const std::vector<std::vector<ScoredText>> kinds = {texts(), texts_with_a_prefix()};
  return kinds;
}

// log_softmax(logits / T) at every position of one whole text, in float64. [tokens, vocab]
at::Tensor plain_logprobs(const Decoder& decoder, const Adapter* adapter,
                          const std::vector<int64_t>& ids, double temperature) {
  const at::NoGradGuard no_grad;
  const auto hidden = decoder.forward(pack(alone(ids)), adapter);
  return at::log_softmax(decoder.logits(hidden, adapter).to(at::kDouble) / temperature, -1);
}

TEST(Scoring, AgreesWithPlainForwards) {
  const auto decoder = tiny_decoder();
  const Adapter adapter = tiny_adapter(*decoder);
  const LinearHead head = value_head();
  for (const auto& all : both_kinds()) {
    for (const int64_t tokens : {1, 16, 4096}) {
      const ScoringOptions options{
          .temperature = 0.7, .micro_batch_tokens = tokens, .value_head = &head};
      const auto scored = score_texts(*decoder, &adapter, all, options);
      ASSERT_EQ(scored.size(), all.size());
      for (size_t t = 0; t < scored.size(); ++t) {
        const ScoredText text = all[t];
        const auto logprobs = plain_logprobs(*decoder, &adapter, text.ids, 0.7);
        const at::NoGradGuard no_grad;
        const auto values = head(decoder->forward(pack(alone(text.ids)), adapter));
        const size_t answer = text.ids.size() - static_cast<size_t>(text.answer_begin);
        ASSERT_EQ(scored[t].logprobs.size(), answer);
        ASSERT_EQ(scored[t].entropies.size(), answer);
        ASSERT_EQ(scored[t].values.size(), answer);
        for (size_t j = 0; j < answer; ++j) {
          const int64_t place = text.answer_begin + static_cast<int64_t>(j);
          const auto row = logprobs[place - 1];
          EXPECT_NEAR(scored[t].logprobs[j], row[text.ids[place]].item<double>(), kRounding);
          EXPECT_NEAR(scored[t].entropies[j], -(row.exp() * row).sum().item<double>(), kRounding);
          EXPECT_NEAR(scored[t].values[j], values[place - 1][0].item<double>(), kRounding);
        }
      }
    }
  }
}

TEST(Scoring, ValuesAloneAreThoseBesideLogprobs) {
  const auto decoder = tiny_decoder();
  const Adapter adapter = tiny_adapter(*decoder);
  const LinearHead head = value_head();
  for (const auto& all : both_kinds()) {
    const auto scored = score_texts(*decoder, &adapter, all, {.value_head = &head});
    for (const int64_t tokens : {1, 16, 4096}) {
      const auto values = value_texts(*decoder, &adapter, head, all, tokens);
      ASSERT_EQ(values.size(), all.size());
      for (size_t t = 0; t < values.size(); ++t) {
        ASSERT_EQ(values[t].size(), scored[t].values.size());
        for (size_t j = 0; j < values[t].size(); ++j) {
          EXPECT_NEAR(values[t][j], scored[t].values[j], kRounding)
              << "text " << t << ", token " << j;
        }
      }
    }
  }
}

TEST(Scoring, ValuesOnlyWithAHead) {
  const auto decoder = tiny_decoder();
  for (const auto& scores : score_texts(*decoder, nullptr, texts())) {
    EXPECT_TRUE(scores.values.empty());
  }
  EXPECT_TRUE(score_texts(*decoder, nullptr, {}).empty());
}

TEST(Scoring, ExactKlIsTheSumOverTheVocabulary) {
  const auto decoder = tiny_decoder();
  const Adapter policy = tiny_adapter(*decoder, 3), other = tiny_adapter(*decoder, 4);
  for (const auto& all : both_kinds()) {
    for (const Adapter* reference : {static_cast<const Adapter*>(nullptr), &other}) {
      for (const int64_t tokens : {1, 40, 4096}) {
        const auto kl = exact_kl_texts(*decoder, &policy, reference, all,
                                       {.temperature = 1.3, .micro_batch_tokens = tokens});
        double largest = 0;
        for (size_t t = 0; t < kl.size(); ++t) {
          const ScoredText text = all[t];
          const auto p = plain_logprobs(*decoder, &policy, text.ids, 1.3);
          const auto q = plain_logprobs(*decoder, reference, text.ids, 1.3);
          ASSERT_EQ(kl[t].size(), text.ids.size() - static_cast<size_t>(text.answer_begin));
          for (size_t j = 0; j < kl[t].size(); ++j) {
            const int64_t row = text.answer_begin + static_cast<int64_t>(j) - 1;
            const double expected = (p[row].exp() * (p[row] - q[row])).sum().item<double>();
            EXPECT_NEAR(kl[t][j], expected, 2e-5);
            largest = std::max(largest, expected);
          }
        }
        EXPECT_GT(largest, 0.1) << "the adapters differ";
      }
    }
  }
}

// A reference of other weights, with an adapter of its own.
TEST(Scoring, ExactKlAgainstAnotherModel) {
  const auto decoder = tiny_decoder(), second = tiny_decoder(at::kFloat, {.seed = 8});
  const Adapter policy = tiny_adapter(*decoder, 3), own = tiny_adapter(*second, 4);
  for (const Adapter* reference : {static_cast<const Adapter*>(nullptr), &own}) {
    for (const int64_t tokens : {1, 40, 4096}) {
      const auto kl = exact_kl_texts(*decoder, &policy, *second, reference, texts(),
                                     {.temperature = 1.3, .micro_batch_tokens = tokens});
      double largest = 0;
      for (size_t t = 0; t < kl.size(); ++t) {
        const ScoredText text = texts()[t];
        const auto p = plain_logprobs(*decoder, &policy, text.ids, 1.3);
        const auto q = plain_logprobs(*second, reference, text.ids, 1.3);
        ASSERT_EQ(kl[t].size(), text.ids.size() - static_cast<size_t>(text.answer_begin));
        for (size_t j = 0; j < kl[t].size(); ++j) {
          const int64_t row = text.answer_begin + static_cast<int64_t>(j) - 1;
          const double expected = (p[row].exp() * (p[row] - q[row])).sum().item<double>();
          EXPECT_NEAR(kl[t][j], expected, 2e-5 * std::max(1.0, expected));
          largest = std::max(largest, expected);
        }
      }
      EXPECT_GT(largest, 1.0) << "the models differ";
    }
  }
}

TEST(Scoring, ExactKlOfEqualsIsZero) {
  const auto decoder = tiny_decoder();
  Adapter fresh = Adapter::create({.r = 4, .target_modules = "all-linear"}, decoder->modules(), 1);
  for (const auto& text : exact_kl_texts(*decoder, &fresh, nullptr, texts())) {
    for (const double kl : text) EXPECT_NEAR(kl, 0, 1e-6);
  }
}

TEST(Scoring, SequencesAreScoredAtTheirLastToken) {
  const auto decoder = tiny_decoder();
  const Adapter adapter = tiny_adapter(*decoder);
  const LinearHead head{.weight = normal_tensor({9, Purpose::noise}, {2, 32}, 0, 1)};
  for (const auto& all : both_kinds()) {
    std::vector<std::vector<int64_t>> sequences;
    for (const ScoredText& text : all) sequences.push_back(text.ids);
    for (const int64_t tokens : {1, 30, 4096}) {
      const auto scores = score_sequences(*decoder, &adapter, head, sequences, tokens);
      ASSERT_EQ(scores.sizes(), (std::vector<int64_t>{static_cast<int64_t>(sequences.size()), 2}));
      for (size_t i = 0; i < sequences.size(); ++i) {
        const at::NoGradGuard no_grad;
        const auto hidden = decoder->forward(pack(alone(sequences[i])), adapter);
        EXPECT_TRUE(testing::all_close(scores[static_cast<int64_t>(i)],
                                       head(hidden)[hidden.size(0) - 1], 0, 1e-5));
      }
    }
  }
  EXPECT_EQ(score_sequences(*decoder, &adapter, head, {}).sizes(), (std::vector<int64_t>{0, 2}));
}

TEST(Scoring, LeavesNoGraph) {
  const auto decoder = tiny_decoder();
  const Adapter adapter = tiny_adapter(*decoder);
  const LinearHead head{.weight = normal_tensor({9, Purpose::noise}, {1, 32}, 0, 1)};
  const std::vector<std::vector<int64_t>> one = {random_ids(1, 5)};
  EXPECT_FALSE(score_sequences(*decoder, &adapter, head, one).requires_grad());
  EXPECT_TRUE(c10::GradMode::is_enabled()) << "the caller's mode is as before";
}

TEST(Scoring, RefusesWhatCannotBeScored) {
  const auto decoder = tiny_decoder();
  const auto score = [&](ScoredText text) {
    return score_texts(*decoder, nullptr, std::vector<ScoredText>{std::move(text)});
  };
  EXPECT_THROW(score({{}, 1}), FormatError);
  EXPECT_THROW(score({{1, 96}, 1}), FormatError);
  EXPECT_THROW(score({{1, -1}, 1}), FormatError);
  EXPECT_THROW(score({random_ids(1, 65), 1}), FormatError);
  EXPECT_ANY_THROW(score({{1, 2}, 0}));
  EXPECT_ANY_THROW(score({{1, 2}, 3}));
  try {
    (void)score_texts(*decoder, nullptr, std::vector<ScoredText>{{{1, 2}, 1}, {{5, 1000}, 1}});
    ADD_FAILURE();
  } catch (const FormatError& error) {
    EXPECT_STREQ(error.what(), "text 1: token 1 is 1000, but the model's vocabulary has 96");
  }
}

TEST(MicroBatches, HoldConsecutiveTextsUpToALimit) {
  using Groups = std::vector<std::pair<int64_t, int64_t>>;
  const auto groups = [](std::vector<int64_t> lengths, int64_t most) {
    return micro_batches(lengths, most);
  };
  EXPECT_EQ(groups({3, 4, 5, 1}, 8), (Groups{{0, 2}, {2, 4}}));
  EXPECT_EQ(groups({3, 5, 1}, 8), (Groups{{0, 1}, {1, 3}}));  // 3 and 6, not 8 and 1
  EXPECT_EQ(groups({9, 1, 20, 2}, 8), (Groups{{0, 1}, {1, 2}, {2, 3}, {3, 4}}));
  EXPECT_EQ(groups({4, 4, 4, 4}, 15), (Groups{{0, 2}, {2, 4}}));  // not three and one
  EXPECT_EQ(groups({1, 1, 1, 6, 1}, 8), (Groups{{0, 3}, {3, 5}}));
  EXPECT_EQ(groups({}, 8), Groups{});
  EXPECT_EQ(groups({1, 1}, 1), (Groups{{0, 1}, {1, 2}}));

  // What all texts begin with counts once: 9 + 3, 9 + 11, 9 + 21, of 63 and 29 tokens the same.
  std::vector<std::vector<int64_t>> ids;
  for (const ScoredText& text : texts_with_a_prefix()) ids.push_back(text.ids);
  const std::vector<TokenSpan> spans(ids.begin(), ids.end());
  EXPECT_EQ(micro_batches(spans, 9 + 3 + 55), (Groups{{0, 2}, {2, 4}}));
  EXPECT_EQ(micro_batches(spans, 9 + 3 + 54), (Groups{{0, 1}, {1, 2}, {2, 4}}));
}

}  // namespace
}  // namespace leash
