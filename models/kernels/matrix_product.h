// Matrix products of training and prefill in fp32 on a CPU: x Wᵀ, its gradients dy W and dyᵀ x, and
// the thin ones of LoRA. From a hundred rows on it is near its best speed, so that a pass
// needs no more rows, and activations, than that (figures: experiments/bench/README.md).
#pragma once

#include <ATen/core/Tensor.h>

namespace leash {

// Whether our kernel takes these: fp32 on the CPU, rows or columns contiguous, AVX-512 in this
// machine.
bool has_matrix_product(const at::Tensor& left, const at::Tensor& right);

// left [rows, depth], right [depth, columns] -> [rows, columns], either may be a transposed view.
// Elsewhere LibTorch's product. Where our kernel runs a row's result does not depend on the other
// rows, nor on the number of threads. No gradients.
at::Tensor matrix_product(const at::Tensor& left, const at::Tensor& right);

// x Wᵀ for x [rows, in] and weight [out, in].
at::Tensor linear_product(const at::Tensor& x, const at::Tensor& weight);

// out = scale left right, or added to what is there. `out` [rows, columns] has contiguous rows;
// all of one dtype.
void matrix_product_into(const at::Tensor& out, const at::Tensor& left, const at::Tensor& right,
                         bool add, double scale = 1.0);

}  // namespace leash
