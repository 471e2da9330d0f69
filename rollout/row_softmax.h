// The softmax of one row of logits at a temperature, without keeping its probabilities: what
// sampling asks of 49,152 words, many times a second.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/kernels/softmax_blocks.h"

namespace leash {

// softmax(logits / temperature), as kernels::softmax_blocks computes it for training as well.
// Weights are exp((logit - largest) / temperature) in fp32; sums of blocks are added up in double.
// The logits are looked at, not owned.
class RowSoftmax {
 public:
  static constexpr int64_t kBlock = kernels::kSoftmaxBlock;

  // Throws when a logit is NaN or +inf, or all are -inf.
  RowSoftmax(std::span<const float> logits /* [vocab] */, double temperature);

  // Nats. A token's is recorded in fp32, as training computes it.
  double logprob(int64_t token) const {
    return softmax_.logprob(logits_[static_cast<size_t>(token)], temperature_);
  }
  double entropy() const { return softmax_.entropy; }  // nats
  int64_t draw(double uniform) const;  // the token where the cumulative passes `uniform`
  float largest() const { return softmax_.largest; }
  double sum() const { return softmax_.sum; }  // of the weights
  // Weights of one block of kBlock tokens (fewer at the end; the rest is 0).
  void weights(int64_t block, std::span<float, kBlock> out) const;
  int64_t num_blocks() const { return static_cast<int64_t>(softmax_.block_sums.size()); }

 private:
  std::span<const float> logits_;
  double temperature_;
  float scale_;  // 1 / temperature
  kernels::SoftmaxBlocks softmax_;
};

// The largest of each block of RowSoftmax::kBlock logits (NaN is passed over).
std::vector<float> block_maxima(std::span<const float> logits);

}  // namespace leash
