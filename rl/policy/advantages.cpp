// Masked statistics and generalised advantage estimation.
#include "rl/policy/advantages.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/Exception.h>

#include <vector>

namespace leash {
namespace {

void check_mask(const at::Tensor& values, const at::Tensor& mask) {
  TORCH_CHECK(values.sizes() == mask.sizes(), "values ", values.sizes(), " and mask ", mask.sizes(),
              " differ in shape");
  TORCH_CHECK(mask.scalar_type() == at::kBool, "the mask has to be boolean");
}

}  // namespace

at::Tensor masked_mean(const at::Tensor& values, const at::Tensor& mask) {
  check_mask(values, mask);
  // where, not a product: a NaN outside the mask must not reach the sum.
  return at::where(mask, values, 0.0).sum() / mask.sum().clamp_min(1);
}

at::Tensor masked_var(const at::Tensor& values, const at::Tensor& mask, bool unbiased) {
  const at::Tensor centered = at::where(mask, values - masked_mean(values, mask), 0.0);
  const at::Tensor count = unbiased ? mask.sum() - 1 : mask.sum();
  return (centered * centered).sum() / count.clamp_min(1);
}

at::Tensor masked_whiten(const at::Tensor& values, const at::Tensor& mask, bool shift_mean) {
  // One number has no spread to be measured by; its sign is all that there is to learn from.
  if (mask.sum().item<int64_t>() == 1) return at::where(mask, values, 0.0);
  const at::Tensor mean = masked_mean(values, mask);
  at::Tensor whitened = (values - mean) * at::rsqrt(masked_var(values, mask) + 1e-8);
  if (!shift_mean) whitened = whitened + mean;
  return at::where(mask, whitened, 0.0);
}

Advantages gae(const at::Tensor& rewards, const at::Tensor& values, const at::Tensor& mask,
               double gamma, double lam) {
  TORCH_CHECK(values.dim() == 2 && rewards.sizes() == values.sizes(), "rewards ", rewards.sizes(),
              " and values ", values.sizes(), " have to be [batch, time]");
  check_mask(values, mask);
  const int64_t time = values.size(1);
  if (time == 0) return {at::zeros_like(values), at::zeros_like(values)};
  at::Tensor next_value = at::zeros_like(values.select(1, 0));  // [batch]
  at::Tensor next_advantage = next_value;                       // [batch]
  std::vector<at::Tensor> columns(time);
  for (int64_t t = time - 1; t >= 0; --t) {
    const at::Tensor here = mask.select(1, t);
    const at::Tensor value = values.select(1, t);
    const at::Tensor delta = rewards.select(1, t) + next_value * gamma - value;
    const at::Tensor advantage = delta + next_advantage * (gamma * lam);
    columns[t] = advantage;
    // Entries outside the mask are stepped over: what follows them counts as the next one.
    next_value = at::where(here, value, next_value);
    next_advantage = at::where(here, advantage, next_advantage);
  }
  const at::Tensor advantages = at::where(mask, at::stack(columns, 1), 0.0);
  return {advantages, at::where(mask, advantages + values, 0.0)};
}

}  // namespace leash
