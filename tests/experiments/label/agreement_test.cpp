// Agreement against scikit-learn and the package `krippendorff`.
#include "experiments/label/agreement.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/support/files.h"

namespace leash::label {
namespace {

using ::leash::testing::read_text;
using ::leash::testing::repository;
using TestJson = nlohmann::json;

TestJson golden_agreement() {
  return TestJson::parse(read_text(repository("tests/golden/agreement.json")));
}

// Resamples are drawn otherwise on both sides, 2,000 each: their quantiles err by about 0.01, and
// of few things jump.
void expect_near(const std::optional<Interval>& interval, const TestJson& golden, int64_t items) {
  ASSERT_TRUE(interval);
  if (items < 20) return;
  EXPECT_NEAR(interval->low, golden[0].get<double>(), 0.04);
  EXPECT_NEAR(interval->high, golden[1].get<double>(), 0.04);
}

TEST(GoldenAgreement, KrippendorffsAlpha) {
  for (const TestJson& one : golden_agreement()) {
    SCOPED_TRACE(one["name"]);
    const auto things = one["things"].get<std::vector<std::vector<int>>>();
    const Agreement agreement = krippendorff_alpha(things, 1);
    ASSERT_TRUE(agreement.chance_corrected);
    EXPECT_NEAR(*agreement.chance_corrected, one["alpha"].get<double>(), 1e-12);
    EXPECT_EQ(agreement.items, one["pairable"].get<int64_t>());
    expect_near(agreement.ci95, one["alpha_ci95"], agreement.items);
  }
}

TEST(GoldenAgreement, CohensKappa) {
  int64_t compared = 0;
  for (const TestJson& one : golden_agreement()) {
    for (const TestJson& kappa : one["kappas"]) {
      SCOPED_TRACE(one["name"]);
      const auto a = kappa["a"].get<std::vector<int>>(), b = kappa["b"].get<std::vector<int>>();
      const Agreement agreement = cohen_kappa(a, b, 1);
      ASSERT_TRUE(agreement.chance_corrected);
      EXPECT_NEAR(*agreement.chance_corrected, kappa["kappa"].get<double>(), 1e-12);
      expect_near(agreement.ci95, kappa["ci95"], agreement.items);
      ++compared;
    }
  }
  EXPECT_GE(compared, 10);
}

TEST(Agreement, IsUndefinedWhereAllSayTheSame) {
  const std::vector<int> same(5, 1);
  EXPECT_FALSE(cohen_kappa(same, same, 1).chance_corrected);
  EXPECT_EQ(cohen_kappa(same, same, 1).observed, 1.0);
  EXPECT_FALSE(krippendorff_alpha({{1, 1}, {1, 1, 1}}, 1).chance_corrected);
  EXPECT_FALSE(krippendorff_alpha({{1}, {2}, {}}, 1).chance_corrected);
  EXPECT_EQ(krippendorff_alpha({{1}, {2}, {}}, 1).items, 0);
  EXPECT_EQ(cohen_kappa({}, {}, 1).items, 0);
}

TEST(Agreement, OfOppositesIsBelowChance) {
  const std::vector<int> a = {0, 1, 0, 1}, b = {1, 0, 1, 0};
  EXPECT_NEAR(*cohen_kappa(a, b, 1).chance_corrected, -1.0, 1e-12);
  EXPECT_LT(*krippendorff_alpha({{0, 1}, {1, 0}, {0, 1}}, 1).chance_corrected, 0.0);
}

// What people prefer counts by pairs of judgements: of three who judge one thing 1, 1, 2 one pair
// of three is equal.
TEST(Agreement, ObservedCountsPairsOfJudgements) {
  EXPECT_NEAR(krippendorff_alpha({{1, 1, 2}}, 1).observed, 1.0 / 3, 1e-12);
  EXPECT_NEAR(krippendorff_alpha({{1, 1, 2}, {3, 3}}, 1).observed, 2.0 / 4, 1e-12);
}

}  // namespace
}  // namespace leash::label
