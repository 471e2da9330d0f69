// Advantages and returns, and masked statistics. Pure functions on [batch, time] tensors.
#pragma once

#include <ATen/core/Tensor.h>

namespace leash {

at::Tensor masked_mean(const at::Tensor& values, const at::Tensor& mask);
// Unbiased by default, as TRL (Bessel's correction over all masked entries).
at::Tensor masked_var(const at::Tensor& values, const at::Tensor& mask, bool unbiased = true);

// (x - mean) / sqrt(var + 1e-8) over masked entries; `shift_mean` false adds the mean back, as TRL
// and verl (torchtune's flag of that name means the opposite). Entries outside the mask become
// 0. A single entry stays as it is.
at::Tensor masked_whiten(const at::Tensor& values, const at::Tensor& mask, bool shift_mean = true);

struct Advantages {
  at::Tensor advantages;  // [batch, time], 0 outside the mask
  at::Tensor returns;     // [batch, time], advantages + values, 0 outside the mask
};
// Generalised advantage estimation (Schulman et al. 2015, eq. 16), computed backwards over the
// masked entries of each row: the value after the last masked entry is 0. Not whitened.
Advantages gae(const at::Tensor& rewards /* [batch, time] */,
               const at::Tensor& values /* [batch, time] */,
               const at::Tensor& mask /* [batch, time] bool */, double gamma, double lam);

}  // namespace leash
