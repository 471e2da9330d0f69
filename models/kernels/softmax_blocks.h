// The softmax of a row of logits at a temperature in blocks, as training and sampling both compute
// it: a token's log-prob is the same bits for both. Plain memory; compiled per instruction set,
// each of which adds up in the same order.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace leash::kernels {

constexpr int64_t kSoftmaxBlock = 256;

struct SoftmaxBlocks {
  float largest = 0;               // of the logits; NaN is passed over
  double sum = 0;                  // of exp((logit - largest) / T)
  double log_sum = 0;              // NaN where the largest logit or the sum is not finite
  double log_normalizer = 0;       // log Σ exp(logit / T), likewise
  double entropy = 0;              // nats, likewise
  std::vector<double> block_sums;  // of the sum, by block of kSoftmaxBlock logits

  // log_softmax(logits / T) of one token. Both sides round it to fp32.
  double logprob(float logit, double temperature) const {
    return (static_cast<double>(logit) - largest) / temperature - log_sum;
  }
};
// At 1 / T = `inverse_temperature`. `keep_blocks`: for whoever draws.
SoftmaxBlocks softmax_blocks(std::span<const float> logits, float inverse_temperature,
                             bool keep_blocks);

// exp((logit - largest) / T) of one block; what is behind the last logit is 0.
void softmax_weights(std::span<const float> logits, int64_t block, float largest,
                     float inverse_temperature, std::span<float, kSoftmaxBlock> out);

// The largest of each block (NaN is passed over).
std::vector<float> softmax_block_maxima(std::span<const float> logits);

}  // namespace leash::kernels
