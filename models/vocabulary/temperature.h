// What logits are multiplied with, for any temperature that is a number above 0.
#pragma once

#include <algorithm>
#include <limits>

namespace leash {

// 1 / temperature in fp32, kept among its normal numbers: with 0 or infinity, the distance of a
// logit from the largest one would become 0 · ∞.
inline float inverse_temperature(double temperature) {
  using Float = std::numeric_limits<float>;
  return static_cast<float>(std::clamp<double>(1.0 / temperature, Float::min(), Float::max()));
}

}  // namespace leash
