// Vectors of 16 floats are written out, so that every instruction set adds up in the same order.
#include "rollout/row_softmax.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "models/errors.h"
#include "models/vocabulary/temperature.h"

// Resolving clones runs before a sanitizer's runtime is ready, so instrumented builds have none.
#if defined(__x86_64__) && !defined(LEASH_SANITIZED)
#define LEASH_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define LEASH_CLONES
#endif

namespace leash {
namespace {

constexpr int64_t kBlock = RowSoftmax::kBlock;
constexpr int64_t kLanes = 16;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
using Floats = float __attribute__((vector_size(kLanes * sizeof(float))));
using Ints = int32_t __attribute__((vector_size(kLanes * sizeof(int32_t))));

// Below this exp is taken as 0: its result would leave fp32's normal numbers.
constexpr float kLowest = -87.0f;

// exp(z) for z in [kLowest, 0] to about one unit in the last place: 2^n · exp(r) with |r| <=
// ln(2)/2 and the Taylor polynomial of degree 7. References, since a vector by value has no stable
// ABI.
__attribute__((always_inline)) inline void exp_lanes(const Floats& z, Floats& result) {
  constexpr float kLog2E = 1.44269504f;
  constexpr float kLn2High = 0.693145752f, kLn2Low = 1.42860677e-6f;  // their sum is ln 2
  constexpr float kRounder = 12582912.0f;  // 1.5 · 2^23: adding it rounds to an integer
  const Floats n = (z * kLog2E + kRounder) - kRounder;
  const Floats r = (z - n * kLn2High) - n * kLn2Low;
  Floats p = r * (1.0f / 5040) + (1.0f / 720);
  p = p * r + (1.0f / 120);
  p = p * r + (1.0f / 24);
  p = p * r + (1.0f / 6);
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const Ints exponent = (__builtin_convertvector(n, Ints) + 127) << 23;
  Floats power;
  std::memcpy(&power, &exponent, sizeof(power));
  result = p * power;
}

struct BlockSums {
  double weights = 0;
  double weighted = 0;
};

// Weights of `count` logits (a multiple of kLanes) and their sums. NaN goes through to the sums.
LEASH_CLONES BlockSums block_weights(const float* logits, int64_t count, float largest, float scale,
                                     float* weights) {
  Floats sum = {}, weighted = {};
  for (int64_t i = 0; i < count; i += kLanes) {
    Floats z, e;
    std::memcpy(&z, logits + i, sizeof(z));
    z = (z - largest) * scale;
    const Ints zero = z < kLowest;
    z = zero ? Floats{} + kLowest : z;
    exp_lanes(z, e);
    e = zero ? Floats{} : e;
    sum += e;
    weighted += e * z;
    std::memcpy(weights + i, &e, sizeof(e));
  }
  BlockSums sums;
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    sums.weights += sum[lane];
    sums.weighted += weighted[lane];
  }
  return sums;
}

LEASH_CLONES float block_max(const float* logits, int64_t count) {
  Floats most = Floats{} - kInfinity;
  for (int64_t i = 0; i < count; i += kLanes) {
    Floats x;
    std::memcpy(&x, logits + i, sizeof(x));
    most = x > most ? x : most;
  }
  float result = most[0];
  for (int64_t lane = 1; lane < kLanes; ++lane) result = std::max(result, most[lane]);
  return result;
}

// Block `block` of a row, padded with -inf to whole vectors where the row ends within it.
struct Block {
  const float* data;
  int64_t count;  // multiple of kLanes
};
Block block_of(std::span<const float> logits, int64_t block, float* padding /* [kBlock] */) {
  const auto rest = logits.subspan(block * kBlock);
  if (static_cast<int64_t>(rest.size()) >= kBlock) return {rest.data(), kBlock};
  std::copy(rest.begin(), rest.end(), padding);
  const int64_t count = (static_cast<int64_t>(rest.size()) + kLanes - 1) / kLanes * kLanes;
  std::fill(padding + rest.size(), padding + count, -kInfinity);
  return {padding, count};
}

}  // namespace

std::vector<float> block_maxima(std::span<const float> logits) {
  std::vector<float> maxima((logits.size() + kBlock - 1) / kBlock);
  float padding[kBlock];
  for (size_t i = 0; i < maxima.size(); ++i) {
    const Block block = block_of(logits, static_cast<int64_t>(i), padding);
    maxima[i] = block_max(block.data, block.count);
  }
  return maxima;
}

RowSoftmax::RowSoftmax(std::span<const float> logits, double temperature)
    : logits_(logits), temperature_(temperature) {
  TORCH_CHECK(!logits.empty() && temperature > 0, "softmax of an empty row, or temperature <= 0");
  scale_ = inverse_temperature(temperature);
  const std::vector<float> maxima = block_maxima(logits);
  largest_ = *std::max_element(maxima.begin(), maxima.end());
  block_sums_.resize(maxima.size());
  float padding[kBlock], ignored[kBlock];
  for (size_t i = 0; i < block_sums_.size(); ++i) {
    const Block block = block_of(logits, static_cast<int64_t>(i), padding);
    const BlockSums sums = block_weights(block.data, block.count, largest_, scale_, ignored);
    block_sums_[i] = sums.weights;
    sum_ += sums.weights;
    weighted_ += sums.weighted;
  }
  if (!std::isfinite(sum_) || !std::isfinite(largest_)) {
    throw NonFinite(
        "the model's logits are not finite: a weight or an activation is NaN or infinite");
  }
}

double RowSoftmax::logprob(int64_t token) const {
  const double logit = logits_[static_cast<size_t>(token)];
  return (logit - largest_) / temperature_ - std::log(sum_);
}

double RowSoftmax::entropy() const { return std::log(sum_) - weighted_ / sum_; }

void RowSoftmax::weights(int64_t block, std::span<float, kBlock> out) const {
  float padding[kBlock];
  const Block b = block_of(logits_, block, padding);
  block_weights(b.data, b.count, largest_, scale_, out.data());
  std::fill(out.begin() + b.count, out.end(), 0.0f);
}

int64_t RowSoftmax::draw(double uniform) const {
  const double target = uniform * sum_;
  size_t chosen = 0;  // rounding may leave the target past the end: then the last block it is
  double before = 0, passed = 0;
  for (size_t i = 0; i < block_sums_.size(); ++i) {
    if (block_sums_[i] == 0) continue;
    chosen = i;
    before = passed;
    passed += block_sums_[i];
    if (passed > target) break;
  }
  float block[kBlock];
  weights(static_cast<int64_t>(chosen), block);
  int64_t token = 0;
  double cumulative = before;
  for (int64_t i = 0; i < kBlock; ++i) {
    if (block[i] == 0) continue;
    token = static_cast<int64_t>(chosen) * kBlock + i;
    cumulative += block[i];
    if (cumulative > target) break;
  }
  return token;
}

}  // namespace leash
