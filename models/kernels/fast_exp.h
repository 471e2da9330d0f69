// The exponential function of our kernels.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "models/kernels/target_clones.h"

namespace leash::kernels {

// exp(x) for x <= 88 within 2 ulp: 2^n times a polynomial on [-ln2/2, ln2/2] (coefficients after
// Cephes' expf). Below -87 it is 0. Branch-free, so that loops around it vectorise.
LEASH_INLINE float fast_exp(float x) {
  const float clamped = std::max(x, -87.0f);
  const float shifted =
      clamped * 1.44269504088896341f + 12582912.0f;  // rounds to an integer in the low bits
  const float n = shifted - 12582912.0f;
  const float r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const float scale = std::bit_cast<float>((static_cast<int32_t>(n) + 127) << 23);
  return x < -87.0f ? 0.0f : p * scale;
}

}  // namespace leash::kernels
