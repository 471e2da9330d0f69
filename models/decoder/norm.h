// Root-mean-square normalisation (Zhang & Sennrich 2019).
#pragma once

#include <ATen/core/Tensor.h>

namespace leash {

// w x / sqrt(mean(x²) + epsilon) over the last dimension, differentiable in both. Fused for fp32;
// otherwise the plain version.
at::Tensor rms_norm(const at::Tensor& x /* [rows, n] */, const at::Tensor& weight /* [n] */,
                    double epsilon);

// The plain version: the norm in fp32 (or fp64), then the weight, as transformers does.
// Differentiable in both.
at::Tensor rms_norm_plain(const at::Tensor& x, const at::Tensor& weight, double epsilon);

}  // namespace leash
