// Draws as pure functions of their key: Philox4x32-10 blocks, addressed by hashes of the place.
//
// A key's numbers form one stream of 32-bit words w[0], w[1], …; word k is word k mod 4 of the
// block
//   Philox(key = seed hash, counter = {low half: k / 4, high half: place hash}),
// where both hashes are 64 bits wide, take in every field of the key and use different constants,
// so that two keys share numbers only where 128 bits happen to agree. The seed enters the Philox
// key by xor after the hash, so that equal places under different seeds never meet.
#include "models/random/random.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <utility>

#include "models/device/device.h"
#include "models/random/uniform_stream.h"

#ifdef LEASH_CUDA
#include "models/random/random_cuda.h"
#endif

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

PhiloxStream stream_of(const DrawKey& key) {
  return {.key = mix(key.seed) ^ place_hash(key, 0x9e3779b97f4a7c15),
          .place = place_hash(key, 0xd1b54a32d192ed03)};
}

Words words_of(const PhiloxStream& stream, uint64_t block) {
  Words words;
  stream.block(block, words.data());
  return words;
}

uint64_t word64(const PhiloxStream& stream, uint64_t index) {
  const Words words = words_of(stream, index / 2);
  return static_cast<uint64_t>(words[2 * (index % 2) + 1]) << 32 | words[2 * (index % 2)];
}

// The two draws of a block.
std::array<double, 2> uniforms(const PhiloxStream& stream, uint64_t block) {
  std::array<double, 2> draws;
  stream.uniforms(block, draws.data());
  return draws;
}
std::array<double, 2> normals(const PhiloxStream& stream, uint64_t block) {
  const auto [u, v] = uniforms(stream, block);
  const double radius = std::sqrt(-2.0 * std::log1p(-u));  // 1 - u is never 0
  const double angle = 2.0 * std::numbers::pi * v;
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

// Elements 2k and 2k + 1 come from block k, whichever thread fills them.
template <class Draws, class Scale>
at::Tensor fill(const DrawKey& key, at::IntArrayRef shape, Draws draws, Scale scale) {
  const PhiloxStream stream = stream_of(key);
  at::Tensor result = at::empty(shape, at::kFloat);
  float* const out = result.mutable_data_ptr<float>();
  const int64_t n = result.numel();
  at::parallel_for(0, (n + 1) / 2, 2048, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      const auto pair = draws(stream, static_cast<uint64_t>(k));
      out[2 * k] = scale(pair[0]);
      if (2 * k + 1 < n) out[2 * k + 1] = scale(pair[1]);
    }
  });
  return result;
}

// Uniform in 0 … bound-1 without bias (Lemire 2019, "Fast random integer generation in an
// interval"); takes words from `next` on and leaves it behind the last one taken.
uint64_t draw_below(const PhiloxStream& stream, uint64_t bound, uint64_t& next) {
  __extension__ using Wide = unsigned __int128;
  const uint64_t threshold = (0 - bound) % bound;
  while (true) {
    const Wide product = static_cast<Wide>(word64(stream, next++)) * bound;
    if (static_cast<uint64_t>(product) >= threshold) return static_cast<uint64_t>(product >> 64);
  }
}

}  // namespace

uint32_t draw_bits(const DrawKey& key, uint64_t index) {
  return words_of(stream_of(key), index / 4)[index % 4];
}

double draw_uniform(const DrawKey& key, uint64_t index) {
  return uniforms(stream_of(key), index / 2)[index % 2];
}

double draw_normal(const DrawKey& key, uint64_t index) {
  return normals(stream_of(key), index / 2)[index % 2];
}

at::Tensor uniform_tensor(const DrawKey& key, at::IntArrayRef shape, double low, double high,
                          at::Device device) {
  TORCH_CHECK(low <= high, "uniform_tensor: an empty interval [", low, ", ", high, ")");
  const UniformInterval interval{
      .low = low,
      .width = high - low,
      .first = static_cast<float>(low),
      .last = std::nextafter(static_cast<float>(high), -std::numeric_limits<float>::infinity())};
#ifdef LEASH_CUDA
  if (device.is_cuda()) {
    const at::Tensor result = at::empty(shape, at::TensorOptions(at::kFloat).device(device));
    cuda::fill_uniform(stream_of(key), interval, result);
    return result;
  }
#endif
  return on_device(fill(key, shape, uniforms, interval), device);
}

at::Tensor normal_tensor(const DrawKey& key, at::IntArrayRef shape, double mean, double stddev) {
  TORCH_CHECK(stddev >= 0, "normal_tensor: a negative standard deviation ", stddev);
  return fill(key, shape, normals, [=](double z) { return static_cast<float>(mean + z * stddev); });
}

std::vector<int64_t> draw_permutation(const DrawKey& key, int64_t n) {
  TORCH_CHECK(n >= 0, "draw_permutation: a negative length ", n);
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  const PhiloxStream stream = stream_of(key);
  uint64_t next = 0;
  for (size_t i = order.size(); i > 1; --i) {
    std::swap(order[i - 1], order[draw_below(stream, i, next)]);
  }
  return order;
}

}  // namespace leash
