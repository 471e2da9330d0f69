// x Wᵀ for few rows: where decoding lives. A general matrix product copies W into its own layout at
// every call, which at 16 rows costs more than the product; this one reads W as it lies, once.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace leash {

// Rows up to which this is as fast as matrix_product, which copies W (measured on a two-core EPYC
// with AVX-512: the crossing is at 32 rows for weights in the caches, at 100 for a vocabulary).
constexpr int64_t kSmallProductRows = 64;

// AVX-512 in this machine.
bool has_small_product();

// Whether small_product takes these: fp32 on the CPU, rows contiguous, AVX-512 in this machine.
bool small_product_fits(const at::Tensor& x, const at::Tensor& weight);

// x [rows, in], weight [out, in] -> [rows, out], fp32 throughout. A row's result does not depend on
// the other rows, nor on the number of threads. No gradients.
at::Tensor small_product(const at::Tensor& x, const at::Tensor& weight);

// The same on the calling thread, for x [rows, in], weight [out, in] and y [rows, out] with rows
// `y_stride` apart. Only where has_small_product().
void small_product_here(const float* x, int64_t rows, const float* weight, int64_t out, int64_t in,
                        float* y, int64_t y_stride);

}  // namespace leash
