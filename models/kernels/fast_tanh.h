// The hyperbolic tangent of our kernels.
#pragma once

#include <algorithm>
#include <cmath>

#include "models/kernels/fast_exp.h"

namespace leash::kernels {

// tanh(x) within 2 ulp: 1 - 2 / (exp(2x) + 1), and near 0 a polynomial (coefficients after Cephes'
// tanhf), which keeps the digits. Branch-free.
LEASH_INLINE float fast_tanh(float x) {
  const float size = std::fabs(x);
  const float far = 1.0f - 2.0f / (fast_exp(std::min(2.0f * size, 80.0f)) + 1.0f);
  const float z = x * x;
  float p = -5.70498872745e-3f;
  p = p * z + 2.06390887954e-2f;
  p = p * z - 5.37397155531e-2f;
  p = p * z + 1.33314422036e-1f;
  p = p * z - 3.33332819422e-1f;
  const float near = p * z * x + x;
  return size < 0.625f ? near : std::copysign(far, x);
}

}  // namespace leash::kernels
