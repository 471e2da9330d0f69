// Divergences, spectra, bootstrap, moved tokens: against PyTorch and against known truths.
#include "rl/report/drift.h"

#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "models/random/random.h"
#include "rl/report/answer_style.h"
#include "rl/report/moved_tokens.h"
#include "rl/report/weight_drift.h"
#include "tests/support/files.h"
#include "tests/support/tiny_model.h"

namespace leash {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using testing::tiny_adapter;
using testing::tiny_decoder;

json golden_drift() {
  return json::parse(testing::read_text(testing::repository("tests/golden/drift.json")));
}

at::Tensor matrix_of(const json& rows) {
  std::vector<at::Tensor> all;
  for (const json& row : rows)
    all.push_back(at::tensor(row.get<std::vector<double>>(), at::kDouble));
  return at::stack(all);
}

void expect_near(const std::vector<double>& ours, const json& theirs, const char* what) {
  ASSERT_EQ(ours.size(), theirs.size()) << what;
  for (size_t i = 0; i < ours.size(); ++i) EXPECT_NEAR(ours[i], theirs[i], 1e-9) << what << i;
}

TEST(GoldenDrift, DivergencesAreTorchs) {
  const json golden = golden_drift();
  const json& rows = golden["rows"];
  const at::Tensor policy = matrix_of(golden["policy"]), reference = matrix_of(golden["reference"]);
  const at::Tensor targets = at::tensor(golden["targets"].get<std::vector<int64_t>>(), at::kLong);
  const int64_t vocab = policy.size(1);
  MassTensors mass{.policy = at::zeros({vocab}, at::kDouble),
                   .reference = at::zeros({vocab}, at::kDouble)};
  TextDivergence ours;
  // In two parts, as chunks of rows come.
  add_divergences(policy.narrow(0, 0, 3), reference.narrow(0, 0, 3), targets.narrow(0, 0, 3), ours,
                  mass);
  add_divergences(policy.narrow(0, 3, 4), reference.narrow(0, 3, 4), targets.narrow(0, 3, 4), ours,
                  mass);
  for (const DriftColumn& column : drift_columns()) {
    expect_near(ours.*column.values, rows[column.key], column.key);
  }
  expect_near(ours.logprobs, rows["logprobs"], "logprobs");
  expect_near(ours.reference_logprobs, rows["reference_logprobs"], "reference_logprobs");
  expect_near(ours.gained_by, rows["gained_by"], "gained_by");
  expect_near(ours.lost_by, rows["lost_by"], "lost_by");
  for (size_t i = 0; i + 1 < ours.gained.size(); ++i) {  // at the last nothing moved
    EXPECT_EQ(ours.gained[i], rows["gained"][i]);
    EXPECT_EQ(ours.lost[i], rows["lost"][i]);
  }
  for (int64_t id = 0; id < vocab; ++id) {
    EXPECT_NEAR(mass.policy[id].item<double>(), rows["policy_mass"][id], 1e-9);
    EXPECT_NEAR(mass.reference[id].item<double>(), rows["reference_mass"][id], 1e-9);
  }
}

TEST(GoldenDrift, SpectraAreThoseOfTheProduct) {
  const json all = golden_drift();
  for (const json& golden : all["spectra"]) {
    const LoraSpectrum ours = lora_spectrum(
        {.a = matrix_of(golden["a"]), .b = matrix_of(golden["b"]), .scaling = golden["scaling"]});
    EXPECT_NEAR(ours.norm, golden["delta"], 1e-9);
    EXPECT_NEAR(ours.largest, golden["largest"], 1e-9);
    EXPECT_NEAR(ours.effective_rank, golden["effective_rank"], 1e-5);
  }
}

TEST(Divergence, OfTextsIsThatOfTheFunctionsForOneMeasure) {
  const auto decoder = tiny_decoder();
  const Adapter policy = tiny_adapter(*decoder), other = tiny_adapter(*decoder, 9, 0.1);
  const std::vector<ScoredText> texts = {
      {{5, 9, 1, 77, 3}, 1}, {{42}, 1}, {{8, 8, 8, 90, 11, 2, 0}, 3}};
  for (const Adapter* reference : {static_cast<const Adapter*>(nullptr), &other}) {
    const auto kl = exact_kl_texts(*decoder, &policy, reference, texts);
    const auto back = exact_kl_texts(*decoder, reference, &policy, texts);
    const auto ours = score_texts(*decoder, &policy, texts);
    const auto theirs = score_texts(*decoder, reference, texts);
    const Divergences found =
        divergence_texts(*decoder, &policy, reference, texts, {.micro_batch_tokens = 6});
    double mass = 0;
    for (size_t i = 0; i < texts.size(); ++i) {
      const TextDivergence& text = found.texts[i];
      ASSERT_EQ(text.kl.size(), kl[i].size());
      for (size_t j = 0; j < kl[i].size(); ++j) {
        EXPECT_NEAR(text.kl[j], kl[i][j], 1e-5);
        EXPECT_NEAR(text.reverse_kl[j], back[i][j], 1e-5);
        EXPECT_NEAR(text.entropy[j], ours[i].entropies[j], 1e-5);
        EXPECT_NEAR(text.reference_entropy[j], theirs[i].entropies[j], 1e-5);
        EXPECT_NEAR(text.logprobs[j], ours[i].logprobs[j], 1e-5);
        EXPECT_NEAR(text.reference_logprobs[j], theirs[i].logprobs[j], 1e-5);
        EXPECT_LE(text.js[j], std::log(2.0));
        ++mass;
      }
    }
    EXPECT_NEAR(sum(found.mass.policy), mass, 1e-9);
    EXPECT_NEAR(sum(found.mass.reference), mass, 1e-9);
  }
}

double normal_draw(uint64_t world, uint64_t i) {
  return draw_normal({.seed = 5, .purpose = Purpose::noise, .a = world}, i);
}

// Prompts of unequal lengths, whose sums are their length times 2 with noise: the ratio is 2.
TEST(DriftBootstrap, CoversTheTruthAsOftenAsItSays) {
  constexpr uint64_t kWorlds = 400, kPrompts = 40;
  double covered = 0;
  for (uint64_t world = 0; world < kWorlds; ++world) {
    std::vector<double> sums, lengths;
    for (uint64_t i = 0; i < kPrompts; ++i) {
      lengths.push_back(10 + static_cast<double>(i % 5) * 10);
      sums.push_back(lengths.back() * (2 + normal_draw(world, i)));
    }
    const auto interval = bootstrap_ratio(sums, lengths, world, 400);
    covered += interval->low <= 2 && interval->high >= 2 ? 1.0 / kWorlds : 0;
  }
  EXPECT_NEAR(covered, 0.94, 0.03);
  EXPECT_FALSE(bootstrap_ratio(std::vector<double>{1}, std::vector<double>{1}, 0));
}

TextDivergence text_with(std::vector<double> kl, std::vector<double> log_ratios) {
  TextDivergence text;
  text.kl = std::move(kl);
  text.reverse_kl = text.js = text.entropy = text.reference_entropy = text.same_top = text.kl;
  text.logprobs = std::move(log_ratios);
  text.reference_logprobs.assign(text.logprobs.size(), 0);
  return text;
}

TEST(DriftSummary, AnEstimatesErrorIsAgainstTheExactValue) {
  const TextDivergence one = text_with({1, 3}, {2, 2}), two = text_with({2}, {-1});
  const DriftSummary summary = summarize_drift(std::vector<DriftText>{
      {.prompt = 1, .group = "a", .values = &one}, {.prompt = 2, .group = "b", .values = &two}});
  EXPECT_EQ(summary.num_tokens, 3);
  EXPECT_DOUBLE_EQ(summary.kl.mean_token, 2);
  EXPECT_DOUBLE_EQ(summary.k1.mean, 1);
  EXPECT_DOUBLE_EQ(summary.k1.bias, -1);  // errors 1, -1, -3
  EXPECT_NEAR(summary.k1.variance, 8.0 / 3, 1e-12);
  EXPECT_DOUBLE_EQ(summary.k2.mean, 1.5);  // 2, 2, 0.5
  EXPECT_NEAR(summary.k3.mean, (2 * (std::exp(-2) + 1) + std::exp(1) - 2) / 3, 1e-12);
  const auto groups = drift_by_group(std::vector<DriftText>{
      {.prompt = 1, .group = "a", .values = &one}, {.prompt = 2, .group = "b", .values = &two}});
  EXPECT_DOUBLE_EQ(groups.at("b").kl.mean_token, 2);
  EXPECT_FALSE(groups.at("b").kl.ci95) << "one prompt";
}

TEST(MovedTokensTest, AreRankedByMeanProbabilityAndSayWhere) {
  Divergences found;
  found.mass = {.policy = {1.0, 0.2, 0.8}, .reference = {0.4, 1.2, 0.4}};
  TextDivergence text = text_with({0, 0}, {0, 0});
  text.gained = {0, 0};
  text.gained_by = {0.2, 0.4};
  text.lost = {1, 1};
  text.lost_by = {-0.9, -0.1};
  found.texts = {text};
  const MovedTokens moved = moved_tokens(found, 5);
  ASSERT_EQ(moved.gained.size(), 2u);
  EXPECT_EQ(moved.gained[0].id, 0);
  EXPECT_DOUBLE_EQ(moved.gained[0].difference(), 0.3);
  EXPECT_EQ(moved.gained[0].place, 1);
  EXPECT_EQ(moved.gained[1].id, 2);
  EXPECT_EQ(moved.gained[1].text, -1);
  ASSERT_EQ(moved.lost.size(), 1u);
  EXPECT_EQ(moved.lost[0].place, 0);
}

TEST(MovedNgramsTest, AddUpOverTheirPlaces) {
  const std::vector<std::vector<int64_t>> ids = {{1, 2, 1, 2}, {3, 4}, {3, 4}};
  const std::vector<TextDivergence> values = {text_with({0, 0, 0, 0}, {1, 2, 3, 4}),
                                              text_with({0, 0}, {-1, -1}),
                                              text_with({0, 0}, {-1, -2})};
  const MovedNgrams moved = moved_ngrams(ids, values, 2, 5);
  ASSERT_EQ(moved.liked.size(), 1u);  // (2, 1) stands once
  EXPECT_THAT(moved.liked[0].ids, ElementsAre(1, 2));
  EXPECT_EQ(moved.liked[0].times, 2);
  EXPECT_DOUBLE_EQ(moved.liked[0].log_ratio, 10);
  ASSERT_EQ(moved.disliked.size(), 1u);
  EXPECT_DOUBLE_EQ(moved.disliked[0].log_ratio, -5);
  EXPECT_EQ(moved.disliked[0].text, 1);
}

TEST(AnswerStyleTest, CountsNgramsAndMatches) {
  const AnswerStyle style = answer_style(
      std::vector<StyledAnswer>{{{1, 2, 3, 4, 1, 2, 3, 4}, "I cannot help"}, {{1, 2}, "fine"}},
      {"(?i)\\bcannot\\b", "^f"});
  EXPECT_DOUBLE_EQ(style.mean_tokens, 5);
  EXPECT_DOUBLE_EQ(style.repetition, 0.1);  // one of five 4-grams, and none of none
  EXPECT_DOUBLE_EQ(style.distinct_1, 0.4);
  EXPECT_DOUBLE_EQ(style.distinct_2, 4.0 / 8);
  EXPECT_DOUBLE_EQ(style.matches[0].second, 0.5);
  EXPECT_DOUBLE_EQ(style.matches[1].second, 0.5);
}

TEST(WeightDriftTest, IsOfEveryAdaptedModuleAndGoneWithoutItsLayer) {
  const auto decoder = tiny_decoder();
  const Adapter adapter = tiny_adapter(*decoder);
  const auto drift = weight_drift(*decoder, adapter);
  EXPECT_EQ(drift.size(), 14u);  // q, k, v, o, gate, up, down of two layers
  for (const WeightDrift& each : drift) {
    EXPECT_GT(each.delta, 0);
    EXPECT_LE(each.largest, each.delta);
    EXPECT_GE(each.effective_rank, 1);
    EXPECT_LE(each.effective_rank, 4 + 1e-9);
  }
  EXPECT_THAT(adapted_layers(adapter), ElementsAre(0, 1));
  for (const WeightDrift& each : weight_drift(*decoder, without_layer(*decoder, adapter, 1))) {
    EXPECT_EQ(each.delta == 0, each.layer == 1) << each.module;
  }
  for (const WeightDrift& each : weight_drift(*decoder, adapter)) {
    EXPECT_GT(each.delta, 0) << "the adapter itself stays";
  }
}

}  // namespace
}  // namespace leash
