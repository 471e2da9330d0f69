// Vectors of 16 floats are written out, so that every instruction set adds up in the same order.
#include "models/kernels/softmax_blocks.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "models/kernels/target_clones.h"

namespace leash::kernels {
namespace {

constexpr int64_t kLanes = 16;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
using Floats = float __attribute__((vector_size(kLanes * sizeof(float))));
using Ints = int32_t __attribute__((vector_size(kLanes * sizeof(int32_t))));

// Below this exp is taken as 0: its result would leave fp32's normal numbers.
constexpr float kLowest = -87.0f;

// exp(z) for z in [kLowest, 0] to about one unit in the last place: 2^n · exp(r) with |r| <=
// ln(2)/2 and the Taylor polynomial of degree 7. References, since a vector by value has no stable
// ABI.
LEASH_INLINE void exp_lanes(const Floats& z, Floats& result) {
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
Block block_of(std::span<const float> logits, int64_t block, float* padding /* [kSoftmaxBlock] */) {
  const auto rest = logits.subspan(block * kSoftmaxBlock);
  if (static_cast<int64_t>(rest.size()) >= kSoftmaxBlock) return {rest.data(), kSoftmaxBlock};
  std::copy(rest.begin(), rest.end(), padding);
  const int64_t count = (static_cast<int64_t>(rest.size()) + kLanes - 1) / kLanes * kLanes;
  std::fill(padding + rest.size(), padding + count, -kInfinity);
  return {padding, count};
}

}  // namespace

std::vector<float> softmax_block_maxima(std::span<const float> logits) {
  std::vector<float> maxima((logits.size() + kSoftmaxBlock - 1) / kSoftmaxBlock);
  float padding[kSoftmaxBlock];
  for (size_t i = 0; i < maxima.size(); ++i) {
    const Block block = block_of(logits, static_cast<int64_t>(i), padding);
    maxima[i] = block_max(block.data, block.count);
  }
  return maxima;
}

SoftmaxBlocks softmax_blocks(std::span<const float> logits, float inverse_temperature,
                             bool keep_blocks) {
  const std::vector<float> maxima = softmax_block_maxima(logits);
  SoftmaxBlocks result{.largest = *std::max_element(maxima.begin(), maxima.end())};
  if (keep_blocks) result.block_sums.resize(maxima.size());
  double weighted = 0;
  float padding[kSoftmaxBlock], ignored[kSoftmaxBlock];
  for (size_t i = 0; i < maxima.size(); ++i) {
    const Block block = block_of(logits, static_cast<int64_t>(i), padding);
    const BlockSums sums =
        block_weights(block.data, block.count, result.largest, inverse_temperature, ignored);
    if (keep_blocks) result.block_sums[i] = sums.weights;
    result.sum += sums.weights;
    weighted += sums.weighted;
  }
  if (!std::isfinite(result.sum) || !std::isfinite(result.largest)) {
    result.log_sum = result.log_normalizer = result.entropy =
        std::numeric_limits<double>::quiet_NaN();
    return result;
  }
  result.log_sum = std::log(result.sum);
  result.log_normalizer = result.log_sum + static_cast<double>(result.largest) *
                                               static_cast<double>(inverse_temperature);
  result.entropy = result.log_sum - weighted / result.sum;
  return result;
}

void softmax_weights(std::span<const float> logits, int64_t block, float largest,
                     float inverse_temperature, std::span<float, kSoftmaxBlock> out) {
  float padding[kSoftmaxBlock];
  const Block b = block_of(logits, block, padding);
  block_weights(b.data, b.count, largest, inverse_temperature, out.data());
  std::fill(out.begin() + b.count, out.end(), 0.0f);
}

}  // namespace leash::kernels
