// From judgements to rewards, advantages and metrics, by loops over tokens.
#include "rl/ppo_experience.h"

#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "tests/support/tensors.h"

namespace leash {
namespace {

using testing::all_close;

constexpr double kKl = 0.2, kGamma = 0.9, kLambda = 0.8;

// Two answers of three and two tokens.
Experience experience() {
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

// The same with plain loops: what PPO's papers say.
struct WrittenOut {
  std::vector<std::vector<double>> advantages, returns;
  double kl = 0;  // mean over answers

  WrittenOut() {
    const std::vector<std::vector<double>> p = {{-1.0, -2.0, -0.5}, {-3.0, -1.5}};
    const std::vector<std::vector<double>> q = {{-1.5, -1.0, -0.5}, {-2.0, -2.5}};
    const std::vector<std::vector<double>> v = {{0.5, 0.25, -0.5}, {1.0, 2.0}};
    const std::vector<double> scores = {2.0, -1.0};
    double sum = 0, squares = 0, count = 0;
    for (size_t row = 0; row < 2; ++row) {
      const size_t length = p[row].size();
      std::vector<double> advantage(length), target(length);
      double last = 0;
      for (size_t t = length; t-- > 0;) {
        const bool ends = t + 1 == length;
        const double reward = -kKl * (p[row][t] - q[row][t]) + (ends ? scores[row] : 0);
        const double delta = reward + (ends ? 0 : kGamma * v[row][t + 1]) - v[row][t];
        last = delta + (ends ? 0 : kGamma * kLambda * last);
        advantage[t] = last;
        target[t] = last + v[row][t];
        sum += last;
        ++count;
        kl += (p[row][t] - q[row][t]) / 2;
      }
      advantages.push_back(advantage);
      returns.push_back(target);
    }
    for (const auto& row : advantages) {
      for (const double a : row) squares += (a - sum / count) * (a - sum / count);
    }
    const double deviation = std::sqrt(squares / (count - 1) + 1e-8);
    for (auto& row : advantages) {
      for (double& a : row) a = (a - sum / count) / deviation;
    }
  }
};

TEST(PpoExperience, IsShapedAsWrittenOut) {
  Experience actual = experience();
  shape(actual, {.gamma = kGamma, .lam = kLambda}, kKl);
  const WrittenOut expected;
  const at::Tensor mask = actual.mask;
  EXPECT_TRUE(all_close(actual.advantages.masked_select(mask),
                        pad_rows(expected.advantages).masked_select(mask), 1e-5, 1e-6));
  EXPECT_TRUE(all_close(actual.returns.masked_select(mask),
                        pad_rows(expected.returns).masked_select(mask), 1e-5, 1e-6));
}

TEST(PpoExperience, MetricsAreMasked) {
  Experience actual = experience();
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
