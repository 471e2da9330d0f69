// The softmax of one row of logits at a temperature, without keeping its probabilities: what
// sampling asks of 49,152 words, many times a second.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace leash {

// softmax(logits / temperature). Weights are exp((logit - largest) / temperature) in fp32; sums of
// blocks are added up in double. The logits are looked at, not owned.
class RowSoftmax {
 public:
  static constexpr int64_t kBlock = 256;

  // Throws when a logit is NaN or +inf, or all are -inf.
  RowSoftmax(std::span<const float> logits /* [vocab] */, double temperature);

  double logprob(int64_t token) const;  // nats
  double entropy() const;               // nats
  int64_t draw(double uniform) const;   // the token where the cumulative passes `uniform`
  float largest() const { return largest_; }
  double sum() const { return sum_; }  // of the weights
  // Weights of one block of kBlock tokens (fewer at the end; the rest is 0).
  void weights(int64_t block, std::span<float, kBlock> out) const;
  int64_t num_blocks() const { return static_cast<int64_t>(block_sums_.size()); }

 private:
  std::span<const float> logits_;
  double temperature_;
  float scale_;  // 1 / temperature
  float largest_;
  double sum_ = 0;
  double weighted_ = 0;  // sum of weight · (logit - largest) / temperature
  std::vector<double> block_sums_;
};

// The largest of each block of RowSoftmax::kBlock logits (NaN is passed over).
std::vector<float> block_maxima(std::span<const float> logits);

}  // namespace leash
