// What the table at the end of a run says: means, intervals, and the paired gain.
#include "rl/policy/evaluation.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "models/errors.h"
#include "tests/support/files.h"

namespace leash {
namespace {

using ::testing::HasSubstr;

EvaluatedAnswer answer(int64_t prompt, double reward, double kl = 0) {
  return {.prompt = prompt,
          .text = "text",
          .reward = reward,
          .kl = kl,
          .reference_nll = 3.0 * reward,
          .distinct_bigrams = 0.5,
          .num_tokens = static_cast<int64_t>(reward),
          .stop = "eos"};
}

// Student's t with 4 degrees of freedom: 2.7764451051977987 (tables, and scipy.stats.t.ppf).
TEST(Statistics, AnIntervalIsStudents) {
  const std::vector<double> values = {1, 2, 3, 4, 10};
  const MeanInterval interval = mean_interval(values);
  EXPECT_EQ(interval.n, 5);
  EXPECT_DOUBLE_EQ(interval.mean, 4.0);
  const double half = 2.7764451051977987 * std::sqrt(12.5 / 5);
  ASSERT_TRUE(interval.ci95);
  EXPECT_NEAR(interval.ci95->low, 4 - half, 1e-12);
  EXPECT_NEAR(interval.ci95->high, 4 + half, 1e-12);
}

TEST(Statistics, OneValueHasNoIntervalAndNoneIsZero) {
  const std::vector<double> one = {3};
  EXPECT_FALSE(mean_interval(one).ci95);
  EXPECT_DOUBLE_EQ(mean_interval(one).mean, 3);
  EXPECT_EQ(mean_interval({}).n, 0);
  EXPECT_DOUBLE_EQ(mean_interval({}).mean, 0);
}

// Several answers to one prompt count as one observation.
TEST(Evaluation, IntervalsAreOverPrompts) {
  const Evaluation evaluation{
      .decoding = "sampled",
      .answers = {answer(0, 1, 4), answer(0, 3, 8), answer(1, 5, 1), answer(1, 7, 3)}};
  const std::vector<double> means = {2, 6}, kls = {6, 2};
  EXPECT_EQ(evaluation.reward().n, 2);
  EXPECT_DOUBLE_EQ(evaluation.reward().mean, 4);
  EXPECT_DOUBLE_EQ(evaluation.reward().ci95->low, mean_interval(means).ci95->low);
  EXPECT_DOUBLE_EQ(evaluation.kl().ci95->high, mean_interval(kls).ci95->high);
  // exp(Σ nll / Σ tokens): 3 nats a token here.
  EXPECT_NEAR(evaluation.perplexity(), std::exp(3.0), 1e-9);
  EXPECT_DOUBLE_EQ(evaluation.mean_tokens(), 4);
}

// The same prompts before and after: the interval is that of the differences, far narrower here
// than that of either side.
TEST(Evaluation, TheGainIsPaired) {
  Evaluation before{.decoding = "greedy", .answers = {}}, after = before;
  for (int64_t prompt = 0; prompt < 4; ++prompt) {
    const auto level = static_cast<double>(10 * prompt);
    before.answers.push_back(answer(prompt, 1 + level));
    after.answers.push_back(answer(prompt, 2 + level + 0.1 * static_cast<double>(prompt)));
  }
  const std::vector<double> differences = {1.0, 1.1, 1.2, 1.3};
  const MeanInterval gain = mean_interval(differences);
  const std::string table = comparison_table({before}, {after}, {}, 0);
  EXPECT_THAT(table, HasSubstr(fmt::format("{:.3f} [{:.3f}, {:.3f}]", gain.mean, gain.ci95->low,
                                           gain.ci95->high)));
  after.answers.pop_back();
  EXPECT_THAT(comparison_table({before}, {after}, {}, 0), HasSubstr("other prompts at the start"));
}

TEST(Evaluation, IsReadBackAsItWasWritten) {
  const testing::ScratchFolder folder;
  const Evaluation greedy{.decoding = "greedy", .answers = {answer(0, 1.5, 0.25)}};
  write_evaluation(folder.path(), 7, {greedy});
  const auto read = read_evaluation(folder.path(), 7);
  ASSERT_EQ(read.size(), 1u);
  EXPECT_EQ(read[0].decoding, "greedy");
  ASSERT_EQ(read[0].answers.size(), 1u);
  EXPECT_EQ(read[0].answers[0].reward, 1.5);
  EXPECT_EQ(read[0].answers[0].kl, 0.25);
  EXPECT_EQ(read[0].answers[0].reference_nll, 4.5);
  EXPECT_EQ(read[0].answers[0].text, "text");
  testing::write_text(folder / "evaluations/step-8.json", "[{\"decoding\": \"greedy\"}]");
  EXPECT_THROW(read_evaluation(folder.path(), 8), FormatError);
}

}  // namespace
}  // namespace leash
