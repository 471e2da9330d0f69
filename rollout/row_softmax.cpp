#include "rollout/row_softmax.h"

#include <c10/util/Exception.h>

#include <cmath>

#include "models/errors.h"
#include "models/vocabulary/temperature.h"

namespace leash {

std::vector<float> block_maxima(std::span<const float> logits) {
  return kernels::softmax_block_maxima(logits);
}

RowSoftmax::RowSoftmax(std::span<const float> logits, double temperature)
    : logits_(logits), temperature_(temperature) {
  TORCH_CHECK(!logits.empty() && temperature > 0, "softmax of an empty row, or temperature <= 0");
  scale_ = inverse_temperature(temperature);
  softmax_ = kernels::softmax_blocks(logits, scale_, /*keep_blocks=*/true);
  if (!std::isfinite(softmax_.log_sum)) {
    throw NonFinite(
        "the model's logits are not finite: a weight or an activation is NaN or infinite");
  }
}

void RowSoftmax::weights(int64_t block, std::span<float, kBlock> out) const {
  kernels::softmax_weights(logits_, block, softmax_.largest, scale_, out);
}

int64_t RowSoftmax::draw(double uniform) const {
  const double target = uniform * softmax_.sum;
  size_t chosen = 0;  // rounding may leave the target past the end: then the last block it is
  double before = 0, passed = 0;
  for (size_t i = 0; i < softmax_.block_sums.size(); ++i) {
    if (softmax_.block_sums[i] == 0) continue;
    chosen = i;
    before = passed;
    passed += softmax_.block_sums[i];
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
