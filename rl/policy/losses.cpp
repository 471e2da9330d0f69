// PPO's two clipped losses.
#include "rl/policy/losses.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <c10/util/Exception.h>

#include <initializer_list>
#include <vector>

namespace leash {
namespace {

void check_inputs(const at::Tensor& mask, double num_tokens,
                  std::initializer_list<at::Tensor> inputs) {
  TORCH_CHECK(mask.scalar_type() == at::kBool, "the mask has to be boolean");
  TORCH_CHECK(num_tokens > 0, "a minibatch without answer tokens has no loss");
  for (const at::Tensor& input : inputs) {
    TORCH_CHECK(input.sizes() == mask.sizes(), "an input of shape ", input.sizes(),
                " does not fit the mask of shape ", mask.sizes());
  }
}

// Several sums in one copy to the host, as doubles.
std::vector<double> sums(std::initializer_list<at::Tensor> terms) {
  std::vector<at::Tensor> scalars;
  for (const at::Tensor& term : terms) scalars.push_back(term.detach().to(at::kDouble).sum());
  const at::Tensor host = at::stack(scalars).cpu();
  const auto* data = host.const_data_ptr<double>();
  return {data, data + host.numel()};
}

}  // namespace

PolicyLoss policy_loss(const at::Tensor& logprobs, const at::Tensor& old_logprobs,
                       const at::Tensor& advantages, const at::Tensor& mask, double cliprange,
                       double num_tokens) {
  check_inputs(mask, num_tokens, {logprobs, old_logprobs, advantages});
  // Masked before exp: its gradient at a NaN outside the mask would be NaN, whatever follows.
  const at::Tensor log_ratio = at::where(mask, logprobs - old_logprobs, 0.0);
  const at::Tensor advantage = at::where(mask, advantages, 0.0);
  const at::Tensor ratio = at::exp(log_ratio);
  const at::Tensor plain = -advantage * ratio;
  const at::Tensor clipped = -advantage * at::clamp(ratio, 1.0 - cliprange, 1.0 + cliprange);
  PolicyLoss result;
  result.loss = at::maximum(plain, clipped).sum() / num_tokens;
  const auto totals = sums({clipped > plain, log_ratio * log_ratio * 0.5,
                            at::where(mask, ratio, 0.0), at::where(mask, ratio * ratio, 0.0)});
  result.clipped = totals[0];
  result.approx_kl = totals[1];
  result.ratio_sum = totals[2];
  result.ratio_squares = totals[3];
  return result;
}

ValueLoss value_loss(const at::Tensor& values, const at::Tensor& old_values,
                     const at::Tensor& returns, const at::Tensor& mask, double cliprange_value,
                     double num_tokens) {
  check_inputs(mask, num_tokens, {values, old_values, returns});
  const at::Tensor value = at::where(mask, values, 0.0);
  const at::Tensor old_value = at::where(mask, old_values, 0.0);
  const at::Tensor target = at::where(mask, returns, 0.0);
  const at::Tensor near =
      at::clamp(value, old_value - cliprange_value, old_value + cliprange_value);
  const at::Tensor plain = (value - target).square();
  const at::Tensor clipped = (near - target).square();
  ValueLoss result;
  result.loss = at::maximum(plain, clipped).sum() / (2.0 * num_tokens);
  result.clipped = sums({clipped > plain}).front();
  return result;
}

}  // namespace leash
