// Root-mean-square normalisation (Zhang & Sennrich 2019) and layer normalisation (Ba et al. 2016).
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

// The same with (offset + w) in place of w, and multiplied before it is rounded to the type of x
// (Gemma).
at::Tensor offset_rms_norm(const at::Tensor& x, const at::Tensor& weight, double offset,
                           double epsilon);

// w (x - mean(x)) / sqrt(var(x) + epsilon) + b over the last dimension, statistics in fp32 (or
// fp64). Differentiable in all three; `bias` may be undefined.
at::Tensor layer_norm(const at::Tensor& x /* [rows, n] */, const at::Tensor& weight /* [n] */,
                      const at::Tensor& bias /* [n] */, double epsilon);

}  // namespace leash
