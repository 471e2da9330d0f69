// Sampling: transformers' sets of allowed tokens and log-probs (golden), and what a row may not
// depend on.
#include "rollout/sampling.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "rollout/truncation.h"
#include "tests/support/files.h"

namespace leash {
namespace {

using Ids = std::vector<int64_t>;

// One row, one uniform.
SampledToken sample(const std::vector<float>& logits, const SamplingConfig& config, double uniform,
                    const Ids& history = {}, const Ids& forbidden = {}) {
  const std::span<const int64_t> histories[] = {history}, forbiddens[] = {forbidden};
  const auto row = at::tensor(logits).unsqueeze(0);
  return sample_tokens(row, config, std::span(&uniform, 1), histories, forbiddens)[0];
}

SamplingConfig config_of(const nlohmann::json& setting) {
  SamplingConfig config;
  config.temperature = setting.at("temperature");
  config.top_k = setting.value("top_k", config.top_k);
  config.top_p = setting.value("top_p", config.top_p);
  config.min_p = setting.value("min_p", config.min_p);
  config.repetition_penalty = setting.value("repetition_penalty", config.repetition_penalty);
  return config;
}

nlohmann::json golden() {
  return nlohmann::json::parse(
      testing::read_text(testing::repository("tests/golden/sampling.json")));
}

Ids kept_by(const nlohmann::json& one, size_t vocab) {
  Ids kept = one.at("kept").get<Ids>();
  if (kept.empty()) {
    kept.resize(vocab);
    std::iota(kept.begin(), kept.end(), 0);
  }
  return kept;
}

TEST(GoldenSampling, DrawsWhatTransformersLeaves) {
  const auto file = golden();
  const auto rows = file.at("rows").get<std::vector<std::vector<float>>>();
  ASSERT_GE(file.at("cases").size(), 90u);
  for (const auto& one : file.at("cases")) {
    const auto& row = rows.at(one.at("row").get<size_t>());
    const SamplingConfig config = config_of(one.at("setting"));
    const Ids history = one.at("history").get<Ids>(), tokens = one.at("tokens").get<Ids>();
    const Ids kept = kept_by(one, row.size());
    std::map<int64_t, size_t> place;
    for (size_t i = 0; i < tokens.size(); ++i) place[tokens[i]] = i;
    size_t met = 0;
    for (int draw = 0; draw < 400; ++draw) {
      const auto got = sample(row, config, (draw + 0.5) / 400, history);
      ASSERT_TRUE(std::binary_search(kept.begin(), kept.end(), got.token)) << one.at("setting");
      EXPECT_NEAR(got.entropy, one.at("entropy").get<double>(), 2e-6);
      const auto found = place.find(got.token);
      if (found == place.end()) continue;
      ++met;
      EXPECT_NEAR(got.behaviour_logprob, one["behaviour_logprobs"][found->second].get<double>(),
                  2e-6)
          << one.at("setting");
      EXPECT_NEAR(got.logprob, one["logprobs"][found->second].get<double>(), 1e-6);
    }
    EXPECT_GT(met, 0u) << one.at("setting");
  }
}

TEST(GoldenSampling, KeepsExactlyTheTokensOfTransformers) {
  const auto file = golden();
  const auto rows = file.at("rows").get<std::vector<std::vector<float>>>();
  int checked = 0;
  for (const auto& one : file.at("cases")) {
    const SamplingConfig config = config_of(one.at("setting"));
    if (config.repetition_penalty != 1.0 || !config.truncates()) continue;
    const auto& row = rows.at(one.at("row").get<size_t>());
    Ids kept;
    for (const auto& token : kept_tokens(row, RowSoftmax(row, config.temperature), config)) {
      kept.push_back(token.token);
    }
    EXPECT_EQ(kept, kept_by(one, row.size())) << one.at("setting") << " row " << one.at("row");
    ++checked;
  }
  EXPECT_GE(checked, 70);
}

TEST(Sampling, TopPTakesTheFirstOfEqualTokens) {
  const std::vector<float> row(600, 2.0f);
  for (const double uniform : {0.0, 0.5, 0.999}) {
    const auto got = sample(row, {.top_p = 0.2495}, uniform);  // 149.7 of 600
    EXPECT_LT(got.token, 150);
    EXPECT_NEAR(got.behaviour_logprob, -std::log(150.0), 1e-9);
    EXPECT_NEAR(got.logprob, -std::log(600.0), 1e-6);
  }
  EXPECT_EQ(sample(row, {.top_p = 0.2495}, 0.999).token, 149);
  EXPECT_EQ(sample(row, {.top_p = 1e-9}, 0.999).token, 0);
  // Two of four hold a half exactly.
  const std::vector<float> four(4, 2.0f);
  EXPECT_EQ(sample(four, {.top_p = 0.5}, 0.999).token, 1);
}

at::Tensor many_rows(int64_t rows, int64_t vocab) {
  auto logits = at::empty({rows, vocab}, at::kFloat);
  float* data = logits.mutable_data_ptr<float>();
  uint64_t state = 99;
  for (int64_t i = 0; i < rows * vocab; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    data[i] = static_cast<float>(static_cast<double>(state >> 40) / (1 << 21) - 4);
  }
  return logits;
}

TEST(Sampling, ARowDependsOnItselfOnly) {
  const auto logits = many_rows(33, 5000);
  std::vector<double> uniforms(33);
  for (size_t i = 0; i < uniforms.size(); ++i) uniforms[i] = static_cast<double>(i) / 33.0;
  for (const SamplingConfig& config :
       {SamplingConfig{}, SamplingConfig{.temperature = 0.0}, SamplingConfig{.top_k = 300},
        SamplingConfig{.temperature = 0.8, .top_k = 40, .top_p = 0.9, .min_p = 0.01}}) {
    const auto together = sample_tokens(logits, config, uniforms, {}, {});
    for (size_t i = 0; i < uniforms.size(); ++i) {
      const auto alone = sample_tokens(logits.narrow(0, static_cast<int64_t>(i), 1), config,
                                       std::span(&uniforms[i], 1), {}, {})[0];
      EXPECT_EQ(alone.token, together[i].token);
      EXPECT_EQ(alone.logprob, together[i].logprob);
      EXPECT_EQ(alone.behaviour_logprob, together[i].behaviour_logprob);
      EXPECT_EQ(alone.entropy, together[i].entropy);
    }
  }
}

TEST(Sampling, FrequenciesFollowProbabilities) {
  const std::vector<float> row = {0.0f, 1.0f, 2.0f, -1.0f, 0.5f};
  const auto p = at::log_softmax(at::tensor(row).to(at::kDouble) / 0.7, -1).exp();
  std::vector<int> counts(row.size());
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) {
    ++counts[static_cast<size_t>(sample(row, {.temperature = 0.7}, (i + 0.5) / kDraws).token)];
  }
  for (size_t i = 0; i < row.size(); ++i) {
    EXPECT_NEAR(counts[i] / static_cast<double>(kDraws), p.const_data_ptr<double>()[i], 1e-4);
  }
}

TEST(Sampling, NothingTruncatedMeansEqualLogprobs) {
  const auto logits = many_rows(4, 1000);
  const std::vector<double> uniforms = {0.1, 0.4, 0.6, 0.999};
  for (const auto& got : sample_tokens(logits, {.temperature = 0.7}, uniforms, {}, {})) {
    EXPECT_EQ(got.logprob, got.behaviour_logprob);
  }
}

TEST(Sampling, GreedyTakesTheFirstLargest) {
  std::vector<float> row(600, 0.0f);
  row[300] = row[500] = 5.0f;
  const auto got = sample(row, {.temperature = 0.0}, 0.99);
  EXPECT_EQ(got.token, 300);
  EXPECT_EQ(got.behaviour_logprob, 0.0);
  const double expected = 5 - std::log(598 + 2 * std::exp(5.0));
  EXPECT_NEAR(got.logprob, expected, 1e-6);
  EXPECT_EQ(sample(row, {.temperature = 0.0}, 0.0, {}, {300}).token, 500);
  EXPECT_EQ(sample(row, {.temperature = 0.0, .repetition_penalty = 2.0}, 0.0, {300, 300}).token,
            500);
}

TEST(Sampling, PenaltyTakesEachSeenTokenOnce) {
  const std::vector<float> row = {2.0f, -2.0f, 1.0f};
  const SamplingConfig config{.repetition_penalty = 2.0};
  // Drawn from {1, -4, 1}; log-probs of the policy from {2, -2, 1}.
  const auto got = sample(row, config, 0.0, {0, 1, 1, 0, 77, -1});
  const double edited = std::log(2 * std::exp(1.0) + std::exp(-4.0));
  const double raw = std::log(std::exp(2.0) + std::exp(-2.0) + std::exp(1.0));
  EXPECT_EQ(got.token, 0);
  EXPECT_NEAR(got.behaviour_logprob, 1.0 - edited, 1e-6);
  EXPECT_NEAR(got.logprob, 2.0 - raw, 1e-6);
}

TEST(Sampling, ForbiddenTokensAreNeverDrawnAndKeepTheirShareOfLogprob) {
  const std::vector<float> row = {1.0f, 9.0f, 2.0f, 0.0f};
  for (const SamplingConfig& config :
       {SamplingConfig{}, SamplingConfig{.top_k = 1}, SamplingConfig{.top_p = 0.3},
        SamplingConfig{.min_p = 0.9}, SamplingConfig{.temperature = 0.0}}) {
    for (int i = 0; i < 20; ++i) {
      const auto got = sample(row, config, i / 20.0, {}, {1, 400});
      ASSERT_NE(got.token, 1);
      EXPECT_LT(got.logprob, -6.9);  // the forbidden one holds nearly all probability
    }
  }
  EXPECT_NEAR(sample(row, {.top_k = 1}, 0.5, {}, {1}).behaviour_logprob, 0.0, 1e-12);
  for (const double temperature : {0.0, 1.0}) {
    EXPECT_ANY_THROW(sample(row, {.temperature = temperature}, 0.5, {}, {0, 1, 2, 3}));
  }
}

TEST(Sampling, RefusesWhatMakesNoSense) {
  const std::vector<float> row = {1.0f, 2.0f};
  for (const SamplingConfig& config :
       {SamplingConfig{.temperature = -1.0}, SamplingConfig{.temperature = std::nan("")},
        SamplingConfig{.top_k = -1}, SamplingConfig{.top_p = 0.0}, SamplingConfig{.top_p = 1.5},
        SamplingConfig{.min_p = -0.1}, SamplingConfig{.repetition_penalty = 0.0}}) {
    EXPECT_ANY_THROW(sample(row, config, 0.5));
  }
  const std::vector<double> two = {0.1, 0.2};
  EXPECT_ANY_THROW(sample_tokens(at::tensor(row).unsqueeze(0), {}, two, {}, {}));
  EXPECT_ANY_THROW(sample_tokens(at::tensor(row).to(at::kDouble).unsqueeze(0), {},
                                 std::span(two).first(1), {}, {}));
  std::vector<float> nan = {1.0f, std::nanf(""), 2.0f};
  for (const SamplingConfig& config :
       {SamplingConfig{}, SamplingConfig{.temperature = 0.0}, SamplingConfig{.top_k = 2}}) {
    EXPECT_ANY_THROW(sample(nan, config, 0.5));
  }
}

}  // namespace
}  // namespace leash
