// RowSoftmax against LibTorch's log_softmax in float64, and draws at the edges.
#include "rollout/row_softmax.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/log_softmax.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace leash {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> noise(int64_t size, double scale, uint64_t seed) {
  std::vector<float> row(static_cast<size_t>(size));
  uint64_t state = seed * 2654435761u + 12345u;
  for (float& x : row) {
    double sum = 0;  // of four uniforms: nearly normal
    for (int i = 0; i < 4; ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      sum += static_cast<double>(state >> 40) / (1 << 24);
    }
    x = static_cast<float>((sum - 2) * scale);
  }
  return row;
}

at::Tensor reference(const std::vector<float>& row, double temperature) {
  const auto logits =
      at::from_blob(const_cast<float*>(row.data()), {static_cast<int64_t>(row.size())}, at::kFloat);
  return at::log_softmax(logits.to(at::kDouble) / temperature, -1);
}

TEST(RowSoftmax, AgreesWithFloat64) {
  for (const int64_t size : {1, 2, 15, 16, 17, 255, 256, 257, 1000, 49152}) {
    for (const double temperature : {0.05, 0.7, 1.0, 3.0}) {
      const auto row = noise(size, 8.0, static_cast<uint64_t>(size));
      const RowSoftmax softmax(row, temperature);
      const auto expected = reference(row, temperature);
      const double* logprobs = expected.const_data_ptr<double>();
      double worst = 0;
      for (int64_t i = 0; i < size; ++i) {
        worst = std::max(worst, std::abs(softmax.logprob(i) - logprobs[i]));
      }
      EXPECT_LT(worst, 1e-6) << size << " at " << temperature;
      const double entropy = -(expected.exp() * expected).sum().item<double>();
      EXPECT_NEAR(softmax.entropy(), entropy, 2e-6) << size << " at " << temperature;
    }
  }
}

TEST(RowSoftmax, WeightsAreExponentials) {
  std::vector<float> row(RowSoftmax::kBlock);
  for (size_t i = 0; i < row.size(); ++i) row[i] = 3.0f - 0.34f * static_cast<float>(i);
  row[255] = -kInfinity;
  const RowSoftmax softmax(row, 1.0);
  float weights[RowSoftmax::kBlock];
  softmax.weights(0, weights);
  EXPECT_EQ(weights[0], 1.0f);
  for (size_t i = 0; i < row.size(); ++i) {
    const double expected = std::exp(static_cast<double>(row[i]) - row[0]);
    if (expected < std::exp(-87.0)) {
      EXPECT_EQ(weights[i], 0.0f) << i;
    } else {
      EXPECT_NEAR(weights[i] / expected, 1.0, 8e-6 * (1 + 0.1 * static_cast<double>(i))) << i;
    }
  }
}

TEST(RowSoftmax, DrawsFollowTheCumulative) {
  const auto row = noise(1000, 4.0, 7);
  const RowSoftmax softmax(row, 0.9);
  const auto probabilities = reference(row, 0.9).exp();
  const double* p = probabilities.const_data_ptr<double>();
  double before = 0;
  for (int64_t token = 0; token < 1000; ++token) {
    if (p[token] > 1e-5) {
      EXPECT_EQ(softmax.draw(before + 0.05 * p[token]), token);
      EXPECT_EQ(softmax.draw(before + 0.95 * p[token]), token);
    }
    before += p[token];
  }
}

TEST(RowSoftmax, NeverDrawsTheImpossible) {
  const double last = std::nextafter(1.0, 0.0);
  std::vector<float> row(2000, -kInfinity);
  row[700] = 1.0f;
  row[1300] = 1.0f;
  const RowSoftmax two(row, 1.0);
  EXPECT_EQ(two.draw(0.0), 700);
  EXPECT_EQ(two.draw(0.4999), 700);
  EXPECT_EQ(two.draw(0.5), 1300);
  EXPECT_EQ(two.draw(last), 1300);
  EXPECT_EQ(two.draw(1.0), 1300);
  EXPECT_NEAR(two.entropy(), std::log(2.0), 1e-12);
  row[700] = -100.0f;  // possible, yet far below what fp32 can add
  EXPECT_EQ(RowSoftmax(row, 1.0).draw(0.0), 1300);
  for (uint64_t seed = 0; seed < 50; ++seed) {
    auto noisy = noise(777, 1.0, seed);
    for (size_t i = 500; i < noisy.size(); ++i) noisy[i] = -kInfinity;
    EXPECT_LT(RowSoftmax(noisy, 1.0).draw(last), 500);
  }
}

TEST(RowSoftmax, ExtremeTemperatures) {
  const std::vector<float> row = {1.0f, 3.0f, 2.0f, 3.0f};
  const RowSoftmax cold(row, 1e-300);
  EXPECT_EQ(cold.draw(0.2), 1);
  EXPECT_EQ(cold.draw(0.8), 3);
  EXPECT_NEAR(cold.logprob(1), -std::log(2.0), 1e-12);
  EXPECT_NEAR(RowSoftmax(row, 1e30).entropy(), std::log(4.0), 1e-12);
}

TEST(RowSoftmax, RefusesWhatIsNotFinite) {
  for (const size_t place : {size_t{0}, size_t{300}, size_t{599}}) {
    for (const float bad : {std::nanf(""), kInfinity}) {
      std::vector<float> row(600, 1.0f);
      row[place] = bad;
      EXPECT_THROW(RowSoftmax(row, 1.0), std::exception) << bad << " at " << place;
    }
  }
  EXPECT_THROW(RowSoftmax(std::vector<float>(600, -kInfinity), 1.0), std::exception);
  EXPECT_THROW(RowSoftmax(std::vector<float>{}, 1.0), std::exception);
  EXPECT_THROW(RowSoftmax(std::vector<float>{1.0f}, 0.0), std::exception);
}

// 1 / 1e300 is no fp32 number but 0, and 0 times the distance of an impossible token no number.
TEST(RowSoftmax, AnyTemperatureAboveZeroIsOne) {
  std::vector<float> row(600, 1.0f);
  row[5] = -kInfinity;
  const RowSoftmax hot(row, 1e300);
  EXPECT_NEAR(hot.entropy(), std::log(599.0), 1e-6);
  EXPECT_NEAR(hot.logprob(7), -std::log(599.0), 1e-9);
}

}  // namespace
}  // namespace leash
