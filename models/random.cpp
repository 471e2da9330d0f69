// Draws as pure functions of their key: Philox4x32-10 blocks, addressed by hashes of the place.
//
// A key's numbers form one stream of 32-bit words w[0], w[1], …; word k is word k mod 4 of the
// block
//   Philox(key = seed hash, counter = {low half: k / 4, high half: place hash}),
// where both hashes are 64 bits wide, take in every field of the key and use different constants,
// so that two keys share numbers only where 128 bits happen to agree. The seed enters the Philox
// key by xor after the hash, so that equal places under different seeds never meet.
#include "models/random.h"

#include <ATen/Parallel.h>
#include <ATen/core/PhiloxRNGEngine.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <utility>

namespace leash {
namespace {

using Words = std::array<uint32_t, 4>;

// A bijection of 64 bits that spreads every input bit over the whole word (the finaliser of
// SplitMix64; Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators").
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

uint64_t place_hash(const DrawKey& key, uint64_t salt) {
  uint64_t hash = mix(salt + static_cast<uint64_t>(key.purpose));
  for (const uint64_t part : {key.a, key.b, key.c}) hash = mix((hash + salt) ^ part);
  return hash;
}

// What of a key does not depend on the index.
class Stream {
 public:
  explicit Stream(const DrawKey& key)
      : philox_key_(mix(key.seed) ^ place_hash(key, 0x9e3779b97f4a7c15)),
        place_(place_hash(key, 0xd1b54a32d192ed03)) {}

  Words block(uint64_t index) const {
    at::Philox4_32 philox(philox_key_, place_, index);
    return {philox(), philox(), philox(), philox()};
  }
  uint64_t word64(uint64_t index) const { return pair(block(index / 2), index % 2); }

  static uint64_t pair(const Words& words, uint64_t half) {
    return static_cast<uint64_t>(words[2 * half + 1]) << 32 | words[2 * half];
  }

 private:
  uint64_t philox_key_;
  uint64_t place_;
};

double to_unit(uint64_t bits) { return static_cast<double>(bits >> 11) * 0x1p-53; }  // [0, 1)

// The two draws of a block.
std::array<double, 2> uniforms(const Words& words) {
  return {to_unit(Stream::pair(words, 0)), to_unit(Stream::pair(words, 1))};
}
std::array<double, 2> normals(const Words& words) {
  const auto [u, v] = uniforms(words);
  const double radius = std::sqrt(-2.0 * std::log1p(-u));  // 1 - u is never 0
  const double angle = 2.0 * std::numbers::pi * v;
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

// Elements 2k and 2k + 1 come from block k, whichever thread fills them.
template <class Draws, class Scale>
at::Tensor fill(const DrawKey& key, at::IntArrayRef shape, Draws draws, Scale scale) {
  const Stream stream(key);
  at::Tensor result = at::empty(shape, at::kFloat);
  float* const out = result.mutable_data_ptr<float>();
  const int64_t n = result.numel();
  at::parallel_for(0, (n + 1) / 2, 2048, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      const auto pair = draws(stream.block(static_cast<uint64_t>(k)));
      out[2 * k] = scale(pair[0]);
      if (2 * k + 1 < n) out[2 * k + 1] = scale(pair[1]);
    }
  });
  return result;
}

// Uniform in 0 … bound-1 without bias (Lemire 2019, "Fast random integer generation in an
// interval"); takes words from `next` on and leaves it behind the last one taken.
uint64_t draw_below(const Stream& stream, uint64_t bound, uint64_t& next) {
  __extension__ using Wide = unsigned __int128;
  const uint64_t threshold = (0 - bound) % bound;
  while (true) {
    const Wide product = static_cast<Wide>(stream.word64(next++)) * bound;
    if (static_cast<uint64_t>(product) >= threshold) return static_cast<uint64_t>(product >> 64);
  }
}

}  // namespace

uint32_t draw_bits(const DrawKey& key, uint64_t index) {
  return Stream(key).block(index / 4)[index % 4];
}

double draw_uniform(const DrawKey& key, uint64_t index) {
  return uniforms(Stream(key).block(index / 2))[index % 2];
}

double draw_normal(const DrawKey& key, uint64_t index) {
  return normals(Stream(key).block(index / 2))[index % 2];
}

at::Tensor uniform_tensor(const DrawKey& key, at::IntArrayRef shape, double low, double high) {
  TORCH_CHECK(low <= high, "uniform_tensor: an empty interval [", low, ", ", high, ")");
  // Rounding to fp32 may reach `high`, which does not belong to the interval.
  const float last =
      std::nextafter(static_cast<float>(high), -std::numeric_limits<float>::infinity());
  const float first = static_cast<float>(low);
  return fill(key, shape, uniforms, [=](double u) {
    const float value = static_cast<float>(low + u * (high - low));
    return value > last ? std::max(last, first) : value;
  });
}

at::Tensor normal_tensor(const DrawKey& key, at::IntArrayRef shape, double mean, double stddev) {
  TORCH_CHECK(stddev >= 0, "normal_tensor: a negative standard deviation ", stddev);
  return fill(key, shape, normals, [=](double z) { return static_cast<float>(mean + z * stddev); });
}

std::vector<int64_t> draw_permutation(const DrawKey& key, int64_t n) {
  TORCH_CHECK(n >= 0, "draw_permutation: a negative length ", n);
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  const Stream stream(key);
  uint64_t next = 0;
  for (size_t i = order.size(); i > 1; --i) {
    std::swap(order[i - 1], order[draw_below(stream, i, next)]);
  }
  return order;
}

}  // namespace leash
