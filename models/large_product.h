// x Wᵀ for many rows through oneDNN, on machines where it is faster than the product that LibTorch
// takes by itself (MKL, which on AMD's processors keeps to AVX2).
#pragma once

#include <ATen/core/Tensor.h>

namespace leash {

// Whether the machine has AVX-512 and both are fp32 on the CPU, x with enough rows to be worth it.
bool large_product_fits(const at::Tensor& x, const at::Tensor& weight);

// x [rows, in], weight [out, in] (a transposed view as well) -> [rows, out]. No autograd. Like the
// products of LibTorch it may add in another order for other numbers of rows.
at::Tensor large_product(const at::Tensor& x, const at::Tensor& weight);

}  // namespace leash
