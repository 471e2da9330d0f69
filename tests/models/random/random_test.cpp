// Draws: pinned values, order, keys, and that they look like what they claim to be.
#include "models/random/random.h"

#include <ATen/core/PhiloxRNGEngine.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

namespace leash {
namespace {

constexpr DrawKey kKey{.seed = 42, .purpose = Purpose::sampling, .a = 1, .b = 2, .c = 3};

// First word for key 0 and counter 0, published with the generator (Random123's known answers).
TEST(Random, TheEngineIsPhilox) { EXPECT_EQ(at::Philox4_32(0, 0, 0)(), 0x6627e8d5u); }

// Whoever changes these changes every run that anybody wants to repeat. They were computed apart
// from this code, in Python's integers.
TEST(Random, ValuesArePinned) {
  EXPECT_EQ(draw_bits({}), 0xe840badau);
  EXPECT_EQ(draw_bits(kKey, 0), 0x02dba48eu);
  EXPECT_EQ(draw_bits(kKey, 7), 0x9ab4b8beu);
  EXPECT_EQ(draw_bits(kKey, 1ull << 40), 0x6256e77au);
  EXPECT_EQ(draw_bits({.seed = ~0ull, .purpose = Purpose::noise, .a = ~0ull, .b = ~0ull, .c = 9}),
            0x47835b57u);
  EXPECT_EQ(draw_uniform(kKey, 0), 0.028737335701278344);
  EXPECT_EQ(draw_uniform(kKey, 5), 0.8247461586806479);
  EXPECT_DOUBLE_EQ(draw_normal(kKey, 0), 0.23729794139729216);
  EXPECT_DOUBLE_EQ(draw_normal(kKey, 1), 0.0447924483499131);
  EXPECT_EQ(draw_permutation(kKey, 8), (std::vector<int64_t>{4, 6, 2, 1, 3, 5, 7, 0}));
}

TEST(Random, KindsOfDrawsReadOneStream) {
  for (uint64_t i = 0; i < 9; ++i) {
    const uint64_t high = draw_bits(kKey, 2 * i + 1);
    const uint64_t word = high << 32 | draw_bits(kKey, 2 * i);
    EXPECT_EQ(draw_uniform(kKey, i), static_cast<double>(word >> 11) / 9007199254740992.0);
  }
}

TEST(Random, TensorsHoldTheScalarDraws) {
  for (const int64_t n : {0, 1, 2, 7, 30001}) {
    const at::Tensor uniform = uniform_tensor(kKey, {n}, -2.0, 6.0);
    const at::Tensor normal = normal_tensor(kKey, {n}, 3.0, 0.5);
    for (int64_t i = n - 1; i >= 0; i -= 1 + n / 100) {
      const auto index = static_cast<uint64_t>(i);
      EXPECT_EQ(uniform.const_data_ptr<float>()[i],
                static_cast<float>(-2.0 + 8.0 * draw_uniform(kKey, index)));
      EXPECT_EQ(normal.const_data_ptr<float>()[i],
                static_cast<float>(3.0 + 0.5 * draw_normal(kKey, index)));
    }
  }
  EXPECT_EQ(uniform_tensor(kKey, {2, 3}, 0, 1).sizes(), (std::vector<int64_t>{2, 3}));
}

TEST(Random, UniformNeverReachesTheUpperEnd) {
  const float above = std::nextafter(1.0f, 2.0f);  // half of the draws round to it
  const at::Tensor values = uniform_tensor(kKey, {1000}, 1.0, above);
  for (int64_t i = 0; i < 1000; ++i) ASSERT_EQ(values.const_data_ptr<float>()[i], 1.0f);
  EXPECT_EQ(uniform_tensor(kKey, {1}, 5.0, 5.0).const_data_ptr<float>()[0], 5.0f);
  EXPECT_THROW(uniform_tensor(kKey, {1}, 1.0, 0.0), c10::Error);
}

TEST(Random, EveryFieldOfAKeyMatters) {
  std::set<uint32_t> seen;
  for (const DrawKey& key : {
           kKey,
           DrawKey{.seed = 43, .purpose = Purpose::sampling, .a = 1, .b = 2, .c = 3},
           DrawKey{.seed = 42, .purpose = Purpose::dropout, .a = 1, .b = 2, .c = 3},
           DrawKey{.seed = 42, .purpose = Purpose::sampling, .a = 0, .b = 2, .c = 3},
           DrawKey{.seed = 42, .purpose = Purpose::sampling, .a = 1, .b = 0, .c = 3},
           DrawKey{.seed = 42, .purpose = Purpose::sampling, .a = 1, .b = 2, .c = 0},
           DrawKey{.seed = 42, .purpose = Purpose::sampling, .a = 2, .b = 1, .c = 3},
           DrawKey{.seed = 42, .purpose = Purpose::sampling, .a = 1, .b = 3, .c = 2},
       }) {
    seen.insert(draw_bits(key));
  }
  EXPECT_EQ(seen.size(), 8u);
}

// 300,000 words of neighbouring places: a repeat by chance has a probability of 3e-9.
TEST(Random, NeighbouringPlacesDoNotMeet) {
  std::vector<uint64_t> words;
  for (uint64_t seed : {0, 1, 42}) {
    for (uint64_t step = 0; step < 10; ++step) {
      for (uint64_t sample = 0; sample < 50; ++sample) {
        for (uint64_t position = 0; position < 100; ++position) {
          for (uint64_t index : {0, 1}) {
            const DrawKey key{.seed = seed, .a = step, .b = sample, .c = position};
            words.push_back(static_cast<uint64_t>(draw_bits(key, 2 * index + 1)) << 32 |
                            draw_bits(key, 2 * index));
          }
        }
      }
    }
  }
  std::ranges::sort(words);
  EXPECT_EQ(std::ranges::adjacent_find(words), words.end());
}

struct Moments {
  double mean = 0;
  double variance = 0;
  double fourth = 0;
  double lag_one = 0;  // correlation of neighbours
};

Moments moments(const std::vector<double>& values) {
  Moments m;
  const double n = static_cast<double>(values.size());
  for (const double v : values) m.mean += v / n;
  for (size_t i = 0; i < values.size(); ++i) {
    const double d = values[i] - m.mean;
    m.variance += d * d / n;
    m.fourth += d * d * d * d / n;
    if (i > 0) m.lag_one += d * (values[i - 1] - m.mean) / n;
  }
  m.lag_one /= m.variance;
  return m;
}

constexpr size_t kMany = 200000;

// The two ways in which draws are used: one key with many indices, many keys with one index.
std::vector<std::vector<double>> both_ways(double (*draw)(const DrawKey&, uint64_t)) {
  std::vector<double> along_index, along_key;
  for (size_t i = 0; i < kMany; ++i) {
    along_index.push_back(draw(kKey, i));
    along_key.push_back(draw({.seed = 42, .a = 7, .b = i / 100, .c = i % 100}, 0));
  }
  return {along_index, along_key};
}

// Bounds are five standard errors: n = 200,000.
TEST(Random, UniformsAreUniform) {
  for (const auto& values : both_ways(draw_uniform)) {
    const Moments m = moments(values);
    EXPECT_NEAR(m.mean, 0.5, 5 * std::sqrt(1.0 / 12 / kMany));
    EXPECT_NEAR(m.variance, 1.0 / 12, 5 * std::sqrt(1.0 / 180 / kMany));
    EXPECT_NEAR(m.lag_one, 0.0, 5 / std::sqrt(1.0 * kMany));
    std::vector<double> sorted = values;
    std::ranges::sort(sorted);
    EXPECT_GE(sorted.front(), 0.0);
    EXPECT_LT(sorted.back(), 1.0);
    double distance = 0;  // Kolmogorov and Smirnov's; above 2.2 / sqrt(n) once in 10,000 times
    for (size_t i = 0; i < kMany; ++i) {
      distance = std::max(distance, std::abs(sorted[i] - (static_cast<double>(i) + 0.5) / kMany));
    }
    EXPECT_LT(distance, 2.2 / std::sqrt(1.0 * kMany));
  }
}

TEST(Random, NormalsAreNormal) {
  for (const auto& values : both_ways(draw_normal)) {
    const Moments m = moments(values);
    EXPECT_NEAR(m.mean, 0.0, 5 / std::sqrt(1.0 * kMany));
    EXPECT_NEAR(m.variance, 1.0, 5 * std::sqrt(2.0 / kMany));
    EXPECT_NEAR(m.fourth, 3.0, 5 * std::sqrt(96.0 / kMany));
    EXPECT_NEAR(m.lag_one, 0.0, 5 / std::sqrt(1.0 * kMany));
    const auto beyond =
        std::ranges::count_if(values, [](double v) { return std::abs(v) > 1.959963985; });
    EXPECT_NEAR(static_cast<double>(beyond), 0.05 * kMany, 5 * std::sqrt(0.0475 * kMany));
  }
}

TEST(Random, EveryBitIsFair) {
  std::array<int64_t, 32> ones{};
  for (uint64_t i = 0; i < kMany; ++i) {
    const uint32_t bits = draw_bits({.seed = 1, .c = i}, i % 4);
    for (size_t b = 0; b < 32; ++b) ones[b] += bits >> b & 1;
  }
  for (const int64_t count : ones) {
    EXPECT_NEAR(static_cast<double>(count), kMany / 2.0, 5 * std::sqrt(kMany / 4.0));
  }
}

TEST(Random, PermutationsHoldEveryNumberOnce) {
  for (const int64_t n : {0, 1, 2, 3, 1000}) {
    std::vector<int64_t> order = draw_permutation(kKey, n);
    std::ranges::sort(order);
    ASSERT_EQ(static_cast<int64_t>(order.size()), n);
    for (int64_t i = 0; i < n; ++i) ASSERT_EQ(order[static_cast<size_t>(i)], i);
  }
  EXPECT_NE(draw_permutation(kKey, 1000), draw_permutation({.seed = 1}, 1000));
  EXPECT_THROW(draw_permutation(kKey, -1), c10::Error);
}

TEST(Random, PermutationsAreEquallyLikely) {
  constexpr int kDraws = 48000;
  std::map<std::vector<int64_t>, int> counts;
  for (uint64_t i = 0; i < kDraws; ++i) {
    ++counts[draw_permutation({.seed = 3, .purpose = Purpose::shuffle, .a = i}, 4)];
  }
  ASSERT_EQ(counts.size(), 24u);
  double chi_square = 0;
  for (const auto& [order, count] : counts) {
    chi_square += (count - kDraws / 24.0) * (count - kDraws / 24.0) / (kDraws / 24.0);
  }
  EXPECT_LT(chi_square, 58.6);  // 23 degrees of freedom: exceeded once in 20,000 times
}

}  // namespace
}  // namespace leash
