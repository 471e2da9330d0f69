// The arithmetic of the kernels over rows of logits, on the CPU, as a GPU's threads put it
// together.
#include "models/vocabulary/running_softmax.h"

#include <ATen/ops/log_softmax.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "models/kernels/kernels.h"
#include "models/kernels/softmax_blocks.h"
#include "models/random/random.h"

namespace leash {
namespace {

constexpr int64_t kVocab = 1000;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> logits(double scale = 3.0) {
  const at::Tensor values =
      normal_tensor(DrawKey{.seed = 8, .purpose = Purpose::noise}, {kVocab}, 0, scale);
  const auto* data = values.const_data_ptr<float>();
  return {data, data + kVocab};
}

// As a block of `threads` does it.
RunningSoftmax by_threads(const std::vector<float>& row, float inverse, int threads) {
  std::vector<RunningSoftmax> parts(static_cast<size_t>(threads));
  for (size_t v = 0; v < row.size(); ++v) {
    parts[v % parts.size()].add(static_cast<double>(row[v]) * inverse);
  }
  for (size_t half = parts.size() / 2; half > 0; half /= 2) {
    for (size_t i = 0; i < half; ++i) parts[i].merge(parts[i + half]);
  }
  return parts[0];
}

TEST(RunningSoftmax, AgreesWithTheCpusStatistics) {
  for (const double scale : {0.01, 3.0, 200.0}) {
    for (const float inverse : {1.0f, 1.0f / 0.7f}) {
      const std::vector<float> row = logits(scale);
      const auto expected = kernels::softmax_blocks(row, inverse, false);
      for (const int threads : {1, 4, 256}) {
        const RunningSoftmax softmax = by_threads(row, inverse, threads);
        EXPECT_NEAR(softmax.log_normalizer(), expected.log_normalizer,
                    1e-6 * (1 + std::abs(expected.log_normalizer)));
        EXPECT_NEAR(softmax.entropy(), expected.entropy, 1e-5);
      }
    }
  }
}

TEST(RunningSoftmax, MinusInfinityIsNoTokenAndOthersAreSeen) {
  std::vector<float> row = logits();
  row[3] = row[500] = -kInfinity;
  const double expected = kernels::softmax_blocks(row, 1.0f, false).log_normalizer;
  EXPECT_NEAR(by_threads(row, 1.0f, 256).log_normalizer(), expected, 1e-6);
  for (const float bad : {kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
    row[77] = bad;
    const RunningSoftmax softmax = by_threads(row, 1.0f, 256);
    EXPECT_FALSE(std::isfinite(softmax.sum) && std::isfinite(softmax.largest));
  }
  const std::vector<float> none(kVocab, -kInfinity);
  EXPECT_FALSE(std::isfinite(by_threads(none, 1.0f, 256).largest));
}

TEST(RunningSoftmax, GradientsAreTheCpus) {
  const std::vector<float> row = logits();
  constexpr float kInverse = 1.0f / 0.7f, kGradient = -0.3f;
  const double log_z = kernels::softmax_blocks(row, kInverse, false).log_normalizer;
  std::vector<float> expected = row;
  kernels::logprob_backward(expected.data(), kVocab, kInverse, log_z, 42, kGradient);
  for (int64_t v = 0; v < kVocab; ++v) {
    const auto i = static_cast<size_t>(v);
    EXPECT_NEAR(logprob_gradient(row[i], kInverse, log_z, v == 42, kGradient), expected[i], 1e-7);
  }
}

// One draw as the kernel makes it.
int64_t draw(const std::vector<float>& row, float inverse, double uniform) {
  const RunningSoftmax softmax = by_threads(row, inverse, 256);
  const auto weight = [&](int64_t v) {
    return sampling_weight(row[static_cast<size_t>(v)], inverse, softmax.largest);
  };
  std::vector<double> sums;
  double total = 0;
  for (int64_t begin = 0; begin < kVocab; begin += kSampledPart) {
    double sum = 0;
    for (int64_t v = begin; v < std::min(begin + kSampledPart, kVocab); ++v) sum += weight(v);
    sums.push_back(sum);
    total += sum;
  }
  double before = 0;
  const int64_t part = index_at(
      uniform * total, std::ssize(sums), [&](int64_t i) { return sums[static_cast<size_t>(i)]; },
      before);
  const int64_t begin = part * kSampledPart;
  return begin + index_at(
                     uniform * total, std::min(kSampledPart, kVocab - begin),
                     [&](int64_t i) { return weight(begin + i); }, before);
}

// The token whose part of the cumulative distribution holds the uniform.
TEST(RunningSoftmax, ADrawIsWhereTheDistributionPassesTheUniform) {
  std::vector<float> row = logits();
  row[0] = row[256] = row[999] = -kInfinity;
  constexpr float kInverse = 1.0f / 0.8f;
  const double log_z = by_threads(row, kInverse, 256).log_normalizer();
  std::vector<double> cumulative{0.0};
  for (const float logit : row) {
    cumulative.push_back(cumulative.back() +
                         std::exp(logit * static_cast<double>(kInverse) - log_z));
  }
  for (int64_t i = 0; i < 2000; ++i) {
    const double uniform = draw_uniform({.seed = 4, .purpose = Purpose::noise}, i);
    const auto token = static_cast<size_t>(draw(row, kInverse, uniform));
    ASSERT_LT(token, row.size());
    EXPECT_GT(row[token], -kInfinity);
    EXPECT_LE(cumulative[token], uniform + 1e-12);
    EXPECT_GE(cumulative[token + 1], uniform - 1e-12);
  }
  EXPECT_EQ(draw(row, kInverse, 0.0), 1);
  EXPECT_EQ(draw(row, kInverse, 1.0), 998);  // past the end: the last that can be
}

// Whatever order the parts come in, the first of the largest is found.
TEST(LargestLogit, IsTheFirstOfEquals) {
  std::vector<float> row = logits();
  const float most = *std::max_element(row.begin(), row.end()) + 1.0f;
  for (const size_t place : {size_t{907}, size_t{311}, size_t{567}}) row[place] = most;
  for (const size_t threads : {1, 7, 256}) {
    std::vector<LargestLogit> parts(threads);
    for (size_t v = row.size(); v-- > 0;) {
      parts[v % threads].merge({row[v], static_cast<int64_t>(v)});
    }
    LargestLogit largest;
    for (const LargestLogit& part : parts) largest.merge(part);
    EXPECT_EQ(largest.index, 311);
    EXPECT_EQ(largest.value, most);
  }
  LargestLogit nothing_likely;
  nothing_likely.merge({-kInfinity, 4});
  nothing_likely.merge({-kInfinity, 2});
  EXPECT_EQ(nothing_likely.index, 2);
}

}  // namespace
}  // namespace leash
