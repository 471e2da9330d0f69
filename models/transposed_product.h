// dy W, the gradient of x Wᵀ with respect to x: half of the work of training. LibTorch's product
// reaches its best speed at a thousand rows and more, which is memory for activations; this one
// does from a hundred on.
#pragma once

#include <ATen/core/Tensor.h>

namespace leash {

// Whether transposed_product takes these: fp32 on the CPU, rows contiguous, `in` a multiple of 16,
// AVX-512 in this machine.
bool transposed_product_fits(const at::Tensor& dy, const at::Tensor& weight);

// dy [rows, out], weight [out, in] -> [rows, in], fp32 throughout. A row's result does not depend
// on the other rows, nor on the number of threads. No gradients.
at::Tensor transposed_product(const at::Tensor& dy, const at::Tensor& weight);

// The same into dx [rows, in], contiguous, fp32; with `add` on top of what is there.
void transposed_product_into(const at::Tensor& dx, const at::Tensor& dy, const at::Tensor& weight,
                             bool add);

}  // namespace leash
