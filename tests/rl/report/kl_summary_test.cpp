// Means, intervals and estimates of the KL report, by hand.
#include "rl/report/kl_summary.h"

#include <gtest/gtest.h>

#include <cmath>

namespace leash {
namespace {

// Two answers to prompt 1, one to prompt 2. Log-ratios are ours - the reference's.
std::vector<KlText> texts() {
  return {{.prompt = 1, .kl = {1, 2}, .logprobs = {-1, -2}, .reference_logprobs = {-1.5, -1}},
          {.prompt = 1, .kl = {3}, .logprobs = {-1}, .reference_logprobs = {-3}},
          {.prompt = 2, .kl = {5, 7, 9}, .logprobs = {0, 0, 0}, .reference_logprobs = {0, 0, -1}}};
}

TEST(KlSummary, TokensAreCountedAndPromptsAreObservations) {
  const KlSummary summary = summarize_kl(texts());
  EXPECT_EQ(summary.num_texts, 3);
  EXPECT_EQ(summary.num_tokens, 6);
  EXPECT_DOUBLE_EQ(summary.kl.mean_token, 27.0 / 6);
  // Prompt 1: (3 + 3) / 2, prompt 2: 21.
  EXPECT_EQ(summary.kl.sequence.n, 2);
  EXPECT_DOUBLE_EQ(summary.kl.sequence.mean, 12);
  const std::vector<double> means = {3, 21};
  EXPECT_DOUBLE_EQ(summary.kl.sequence.ci95->low, mean_interval(means).ci95->low);
}

TEST(KlSummary, EstimatesAreOfOursAgainstTheReference) {
  const KlSummary summary = summarize_kl(texts());
  EXPECT_DOUBLE_EQ(summary.k1.mean_token, (0.5 - 1 + 2 + 0 + 0 + 1) / 6);
  // k3 at log-ratio r = log p - log q: exp(-r) - 1 + r.
  const auto k3 = [](double r) { return std::exp(-r) - 1 + r; };
  EXPECT_NEAR(summary.k3.mean_token, (k3(0.5) + k3(-1) + k3(2) + k3(1)) / 6, 1e-15);
  EXPECT_NEAR(k3_estimate(-1), std::exp(1.0) - 2, 1e-15);
}

TEST(KlSummary, PositionsBeginAtOneAndHoldTheTextsThatAreLongEnough) {
  const KlSummary summary = summarize_kl(texts());
  ASSERT_EQ(summary.positions.size(), 3u);
  EXPECT_EQ(summary.positions[0].position, 1);
  EXPECT_EQ(summary.positions[0].num_texts, 3);
  EXPECT_DOUBLE_EQ(summary.positions[0].kl.mean, (2.0 + 5) / 2);  // of prompts
  EXPECT_EQ(summary.positions[1].num_texts, 2);
  EXPECT_DOUBLE_EQ(summary.positions[1].k1.mean, (-1.0 + 0) / 2);
  EXPECT_EQ(summary.positions[2].num_texts, 1);
  EXPECT_DOUBLE_EQ(summary.positions[2].kl.mean, 9);
  EXPECT_FALSE(summary.positions[2].kl.ci95);
}

// Several answers to one prompt each count with their tokens, as in mean_token.
TEST(KlSummary, RangesAreMeansOverTokens) {
  const std::vector<double> zero = {0};
  std::vector<KlText> several(
      4, {.prompt = 1, .kl = {0.1}, .logprobs = zero, .reference_logprobs = {-1}});
  several.push_back({.prompt = 2, .kl = {0.5}, .logprobs = zero, .reference_logprobs = {-6}});
  const KlSummary summary = summarize_kl(several);
  const auto ranges = position_ranges(summary);
  ASSERT_EQ(ranges.size(), 1u);
  EXPECT_DOUBLE_EQ(ranges[0].kl, (4 * 0.1 + 0.5) / 5);
  EXPECT_DOUBLE_EQ(ranges[0].k1, (4 * 1.0 + 6) / 5);
  EXPECT_DOUBLE_EQ(ranges[0].kl, summary.kl.mean_token);
  EXPECT_DOUBLE_EQ(ranges[0].k3, summary.k3.mean_token);
}

TEST(KlSummary, RangesDouble) {
  std::vector<KlText> long_text = {
      {.prompt = 1, .kl = {}, .logprobs = {}, .reference_logprobs = {}}};
  for (int i = 1; i <= 6; ++i) {
    long_text[0].kl.push_back(i);
    long_text[0].logprobs.push_back(0);
    long_text[0].reference_logprobs.push_back(-i);
  }
  const auto ranges = position_ranges(summarize_kl(long_text));
  ASSERT_EQ(ranges.size(), 4u);
  EXPECT_EQ(ranges[2].first, 3);
  EXPECT_EQ(ranges[2].last, 4);
  EXPECT_EQ(ranges[2].num_tokens, 2);
  EXPECT_DOUBLE_EQ(ranges[2].kl, 3.5);
  EXPECT_EQ(ranges[3].first, 5);
  EXPECT_EQ(ranges[3].last, 6);
  EXPECT_DOUBLE_EQ(ranges[3].k1, 5.5);
}

}  // namespace
}  // namespace leash
