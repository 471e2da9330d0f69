// Products of a few rows with weights that were just decoded and still lie in the cache.
#pragma once

#include <cstdint>

namespace leash {

// y[i * y_stride + j] = Σ_k x[i][k] w[j][k] for x [x_rows, n] and w [w_rows, n], in fp32. Compiled
// per instruction set; tests compare it with plain loops.
void row_products(const float* x, int64_t x_rows, const float* w, int64_t w_rows, int64_t n,
                  float* y, int64_t y_stride);

}  // namespace leash
