// What held-out pairs say about a reward model.
#include "rl/reward_model/evaluation.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "models/errors.h"
#include "models/random/random.h"
#include "rl/report/run_report.h"
#include "tests/support/files.h"

namespace leash {
namespace {

using ::testing::HasSubstr;
using testing::read_text;
using testing::ScratchFolder;
using testing::write_text;

double metric(const Metrics& metrics, const std::string& name) {
  for (const auto& [known, value] : metrics) {
    if (known == name) return value;
  }
  ADD_FAILURE() << "no metric " << name;
  return 0;
}

RewardEvaluation three_pairs() {
  return {
      .pairs = {
          {.prompt = 0,
           .chosen = 2,
           .rejected = 0,
           .margin = 0.5,
           .chosen_length = 3,
           .rejected_length = 7},
          {.prompt = 0, .chosen = -1, .rejected = 1, .chosen_length = 5, .rejected_length = 5},
          {.prompt = 1, .chosen = 1, .rejected = 0.5, .chosen_length = 9, .rejected_length = 2}}};
}

TEST(RewardEvaluation, FiguresByHand) {
  const RewardEvaluation evaluation = three_pairs();
  EXPECT_DOUBLE_EQ(evaluation.accuracy().mean, 2.0 / 3);
  EXPECT_DOUBLE_EQ(evaluation.margin().mean, 0.5 / 3);
  EXPECT_DOUBLE_EQ(evaluation.reward().mean, 3.5 / 6);
  EXPECT_DOUBLE_EQ(evaluation.longer_chosen().mean, 0.5);
  const auto log_loss = [](double d) { return std::log1p(std::exp(-d)); };
  const double plain = (log_loss(1.5) + log_loss(-2) + log_loss(0.5)) / 3;
  const RewardLossOptions options{.center_rewards_coefficient = 0.1, .label_smoothing = 0.2};
  EXPECT_NEAR(evaluation.loss({}), plain, 1e-12);
  EXPECT_NEAR(evaluation.loss(options), plain + 0.1 * (4.0 + 0.0 + 2.25) / 3, 1e-12);
  const Metrics metrics = evaluation.metrics(options);
  EXPECT_EQ(metric(metrics, "eval/loss"), evaluation.loss(options));
  EXPECT_EQ(metric(metrics, "eval/min_reward"), -1);
  EXPECT_EQ(metric(metrics, "eval/max_reward"), 2);
  EXPECT_EQ(metric(metrics, "eval/accuracy_low"), evaluation.accuracy().ci95->low);
}

TEST(RewardEvaluation, LengthIsThatOfBothAnswers) {
  RewardEvaluation evaluation;
  for (int64_t i = 0; i < 12; ++i) {
    const auto x = static_cast<double>(i);
    evaluation.pairs.push_back({.prompt = i,
                                .chosen = 2 * x,
                                .rejected = 3 - 4 * x,
                                .chosen_length = i,
                                .rejected_length = 100 - 2 * i});
  }
  // The chosen answers lie on one line; with the rejected ones there is less of one.
  EXPECT_NEAR(evaluation.length_correlation().mean, -0.725449,
              1e-6);  // statistics.correlation of Python
  for (ScoredPair& pair : evaluation.pairs) {
    pair.rejected = 2 * static_cast<double>(pair.rejected_length);
  }
  EXPECT_NEAR(evaluation.length_correlation().mean, 1, 1e-12);
}

// Scores whose differences are the log-odds by which the labels were drawn.
RewardEvaluation drawn(double overconfidence) {
  RewardEvaluation evaluation;
  for (uint64_t i = 0; i < 2000; ++i) {
    const double difference = 3 * draw_normal({.seed = 5, .a = i});
    const bool first = draw_uniform({.seed = 6, .a = i}) < preference_probability(difference, 0);
    const double scores[] = {overconfidence * difference / 2, -overconfidence * difference / 2};
    evaluation.pairs.push_back({.prompt = static_cast<int64_t>(i),
                                .chosen = scores[first ? 0 : 1],
                                .rejected = scores[first ? 1 : 0]});
  }
  return evaluation;
}

TEST(RewardEvaluation, CalibratedScoresLieOnTheDiagonal) {
  const RewardEvaluation evaluation = drawn(1);
  const auto bins = evaluation.calibration();
  ASSERT_EQ(bins.size(), 8u);
  double before = 0.5;
  int inside = 0;
  for (const CalibrationBin& bin : bins) {
    EXPECT_EQ(bin.observed.n, 250);
    EXPECT_GT(bin.expected, before);
    before = bin.expected;
    inside += bin.observed.ci95->low <= bin.expected && bin.expected <= bin.observed.ci95->high;
  }
  EXPECT_GE(inside, 7);
  EXPECT_LT(evaluation.calibration_error(), 0.03);
  EXPECT_GT(drawn(5).calibration_error(), 0.1);
}

TEST(RewardEvaluation, FewPairsMakeFewBinsAndEqualScoresAreHalfRight) {
  RewardEvaluation evaluation;
  EXPECT_TRUE(evaluation.calibration().empty());
  EXPECT_EQ(evaluation.calibration_error(), 0);
  for (int64_t i = 0; i < 25; ++i) evaluation.pairs.push_back({.prompt = i});
  const auto bins = evaluation.calibration();
  ASSERT_EQ(bins.size(), 2u);
  EXPECT_EQ(bins[0].expected, 0.5);
  EXPECT_EQ(bins[0].observed.mean, 0.5);
  EXPECT_EQ(evaluation.accuracy().mean, 0);  // as TRL: more than, not at least
}

TEST(RewardEvaluation, FilesReadBackAndTheReportDrawsThem) {
  const ScratchFolder folder;
  const RewardEvaluation evaluation = drawn(1);
  write_reward_evaluation(folder.path(), 4, evaluation);
  const auto file = folder / "evaluations/step-4.json";
  EXPECT_EQ(read_reward_evaluation(file).pairs, evaluation.pairs);
  RewardEvaluation overflowed = evaluation;
  overflowed.pairs[3].rejected = std::numeric_limits<double>::quiet_NaN();
  write_reward_evaluation(folder.path(), 4, overflowed);
  EXPECT_TRUE(std::isnan(read_reward_evaluation(file).pairs[3].rejected));
  write_reward_evaluation(folder.path(), 4, evaluation);
  write_text(
      folder / "metrics.jsonl",
      "{\"step\": 4, \"accuracy\": 0.5, \"eval/accuracy\": 0.75, \"eval/accuracy_low\": 0.7, "
      "\"eval/accuracy_high\": 0.8, \"eval/calibration_error\": 0.1}\n");
  const std::string page = read_text(write_run_report(folder.path()));
  EXPECT_THAT(page, HasSubstr("Calibration"));
  EXPECT_THAT(page, HasSubstr("2000 held-out pairs after step 4"));
  EXPECT_THAT(page, HasSubstr("pairs whose chosen answer has the higher score"));
  write_text(folder / "other.json", "[1]");
  EXPECT_THROW(read_reward_evaluation(folder / "other.json"), FormatError);
}

TEST(RewardEvaluation, TheTableNamesEverything) {
  const std::string table = reward_evaluation_table(three_pairs(), {});
  for (const char* part : {"accuracy [95 %]", "0.667", "mean margin", "correlation",
                           "chosen is the longer one", "calibration error", "expected"}) {
    EXPECT_THAT(table, HasSubstr(part));
  }
}

}  // namespace
}  // namespace leash
