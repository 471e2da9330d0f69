// From judgements to rewards, advantages and metrics, by loops over tokens.
#include "rl/policy/experience.h"

#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "rl/ppo/shape.h"
#include "tests/support/tensors.h"

namespace leash {
namespace {

using testing::all_close;

constexpr double kKl = 0.2, kGamma = 0.9, kLambda = 0.8;

// Two answers of three and two tokens.
Experience two_answers() {
  Experience result;
  result.answers.push_back({.token_ids = {1, 2, 3}, .stop = StopReason::eos});
  result.answers.push_back({.token_ids = {4, 5}, .stop = StopReason::length});
  result.mask = row_mask({3, 2});
  result.logprobs = pad_rows({{-1.0, -2.0, -0.5}, {-3.0, -1.5}});
  result.reference_logprobs = pad_rows({{-1.5, -1.0, -0.5}, {-2.0, -2.5}});
  result.entropies = pad_rows({{1.0, 2.0, 3.0}, {4.0, 5.0}});
  result.values = pad_rows({{0.5, 0.25, -0.5}, {1.0, 2.0}});
  result.scores = at::tensor({2.0, -1.0}, at::kFloat);
  return result;
}

double estimate(KlEstimator estimator, double log_ratio) {
  if (estimator == KlEstimator::k1) return log_ratio;
  if (estimator == KlEstimator::k2) return log_ratio * log_ratio / 2;
  return std::exp(-log_ratio) - 1 + log_ratio;
}

// The same with plain loops: what PPO's papers say.
struct WrittenOut {
  std::vector<std::vector<double>> advantages, returns;
  double kl = 0;           // mean over answers
  double return_mean = 0;  // over tokens

  explicit WrittenOut(const PpoConfig& config = {}) {
    const std::vector<std::vector<double>> p = {{-1.0, -2.0, -0.5}, {-3.0, -1.5}};
    const std::vector<std::vector<double>> q = {{-1.5, -1.0, -0.5}, {-2.0, -2.5}};
    const std::vector<std::vector<double>> v = {{0.5, 0.25, -0.5}, {1.0, 2.0}};
    const std::vector<double> scores = {2.0, -1.0};
    std::vector<std::vector<double>> rewards(2);
    for (size_t row = 0; row < 2; ++row) {
      for (size_t t = 0; t < p[row].size(); ++t) {
        const double distance = estimate(config.kl_estimator, p[row][t] - q[row][t]);
        const bool ends = t + 1 == p[row].size();
        rewards[row].push_back(-kKl * distance + (ends ? scores[row] : 0));
        kl += distance / 2;
      }
    }
    if (config.whiten_rewards) {
      const auto [mean, deviation] = moments(rewards);
      for (auto& row : rewards) {
        for (double& reward : row) reward = (reward - mean) / deviation + mean;
      }
    }
    for (size_t row = 0; row < 2; ++row) {
      const size_t length = p[row].size();
      std::vector<double> advantage(length), target(length);
      double last = 0;
      for (size_t t = length; t-- > 0;) {
        const bool ends = t + 1 == length;
        const double delta = rewards[row][t] + (ends ? 0 : kGamma * v[row][t + 1]) - v[row][t];
        last = delta + (ends ? 0 : kGamma * kLambda * last);
        advantage[t] = last;
        target[t] = last + v[row][t];
      }
      advantages.push_back(advantage);
      returns.push_back(target);
    }
    return_mean = moments(returns).first;
    const auto [mean, deviation] = moments(advantages);
    for (auto& row : advantages) {
      for (double& a : row) a = (a - mean) / deviation;
    }
  }

  // Mean, and sqrt(unbiased variance + 1e-8).
  static std::pair<double, double> moments(const std::vector<std::vector<double>>& rows) {
    double sum = 0, squares = 0, count = 0;
    for (const auto& row : rows) {
      for (const double x : row) sum += x, ++count;
    }
    for (const auto& row : rows) {
      for (const double x : row) squares += (x - sum / count) * (x - sum / count);
    }
    return {sum / count, std::sqrt(squares / (count - 1) + 1e-8)};
  }
};

TEST(PpoExperience, IsShapedAsWrittenOut) {
  for (const KlEstimator estimator : {KlEstimator::k1, KlEstimator::k2, KlEstimator::k3}) {
    for (const bool whiten : {false, true}) {
      PpoConfig config;
      config.kl_estimator = estimator;
      config.gamma = kGamma;
      config.lam = kLambda;
      config.whiten_rewards = whiten;
      Experience actual = two_answers();
      shape(actual, config, kKl);
      const WrittenOut expected(config);
      const at::Tensor mask = actual.mask;
      EXPECT_TRUE(all_close(actual.advantages.masked_select(mask),
                            pad_rows(expected.advantages).masked_select(mask), 1e-5, 1e-6));
      EXPECT_TRUE(all_close(actual.returns.masked_select(mask),
                            pad_rows(expected.returns).masked_select(mask), 1e-5, 1e-6));
      EXPECT_NEAR(actual.kl.sum().item<double>() / 2, expected.kl, 1e-5);
    }
  }
}

TEST(PpoExperience, AnswersWithoutAnEndPayTheirPenalty) {
  const auto scores = [](std::optional<double> penalty) {
    std::vector<JudgedAnswer> judged;
    for (const StopReason stop : {StopReason::eos, StopReason::length, StopReason::stop_text,
                                  StopReason::context, StopReason::stop_token}) {
      judged.push_back(
          {.answer = {.token_ids = {1}, .logprobs = {-1}, .entropies = {1}, .stop = stop},
           .reference_logprobs = {-1},
           .values = {0},
           .score = 2});
    }
    return assemble(judged, penalty).scores;
  };
  EXPECT_TRUE(all_close(scores({}), at::tensor({2.0, 2.0, 2.0, 2.0, 2.0}, at::kFloat), 0));
  EXPECT_TRUE(all_close(scores(0.5), at::tensor({2.0, 1.5, 2.0, 1.5, 2.0}, at::kFloat), 0));
}

TEST(PpoExperience, WithoutACriticValuesAreZero) {
  const std::vector<JudgedAnswer> judged = {
      {.answer = {.token_ids = {1, 2}, .logprobs = {-1, -1}, .entropies = {1, 1}},
       .reference_logprobs = {-1, -1},
       .values = {},
       .score = 2},
      {.answer = {.token_ids = {1}, .logprobs = {-1}, .entropies = {1}},
       .reference_logprobs = {-1},
       .values = {},
       .score = 1}};
  const Experience experience = assemble(judged, {});
  EXPECT_EQ(experience.values.sizes(), experience.logprobs.sizes());
  EXPECT_EQ(experience.values.abs().max().item<double>(), 0);
}

TEST(PpoExperience, MetricsAreMasked) {
  Experience actual = two_answers();
  shape(actual, {.gamma = kGamma, .lam = kLambda}, kKl);
  std::map<std::string, double> metrics;
  for (const auto& [name, value] : experience_metrics(actual, kKl)) metrics[name] = value;
  const WrittenOut expected;
  EXPECT_NEAR(metrics.at("objective/kl"), expected.kl, 1e-6);
  EXPECT_NEAR(metrics.at("objective/non_score_reward"), -kKl * expected.kl, 1e-6);
  EXPECT_NEAR(metrics.at("objective/scores"), 0.5, 1e-6);
  EXPECT_NEAR(metrics.at("objective/rlhf_reward"), 0.5 - kKl * expected.kl, 1e-6);
  EXPECT_NEAR(metrics.at("objective/scores_std"), std::sqrt(4.5), 1e-6);
  EXPECT_NEAR(metrics.at("objective/entropy"), (3.5 + 4.5) / 2, 1e-6);
  EXPECT_NEAR(metrics.at("policy/entropy_sampling"), 3.0, 1e-6);
  EXPECT_NEAR(metrics.at("val/response_length"), 2.5, 1e-6);
  EXPECT_NEAR(metrics.at("val/num_eos_tokens"), 1, 1e-6);
  EXPECT_NEAR(metrics.at("val/value_mean"), 3.25 / 5, 1e-6);
  EXPECT_NEAR(metrics.at("val/return_mean"), expected.return_mean, 1e-6);
  // 1 - Var(R - V) / Var(R) over the five tokens.
  double mean_r = 0, mean_e = 0, var_r = 0, var_e = 0;
  const std::vector<std::vector<double>> values = {{0.5, 0.25, -0.5}, {1.0, 2.0}};
  for (size_t i = 0; i < 2; ++i) {
    for (size_t t = 0; t < values[i].size(); ++t) {
      mean_r += expected.returns[i][t] / 5;
      mean_e += (expected.returns[i][t] - values[i][t]) / 5;
    }
  }
  for (size_t i = 0; i < 2; ++i) {
    for (size_t t = 0; t < values[i].size(); ++t) {
      var_r += std::pow(expected.returns[i][t] - mean_r, 2);
      var_e += std::pow(expected.returns[i][t] - values[i][t] - mean_e, 2);
    }
  }
  EXPECT_NEAR(metrics.at("val/explained_variance"), 1 - var_e / var_r, 1e-5);
}

}  // namespace
}  // namespace leash
