// AdamW as torch.optim.AdamW computes it, in LibTorch's operators over lists of tensors: on a GPU a
// few kernels for all parameters, on a CPU one parameter after the other.
#include "rl/optim/adamw.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_addcdiv.h>
#include <ATen/ops/_foreach_addcmul.h>
#include <ATen/ops/_foreach_div.h>
#include <ATen/ops/_foreach_lerp.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_foreach_sqrt.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <cmath>

#include "rl/optim/saved_state.h"

namespace leash {

AdamW::AdamW(std::vector<at::Tensor> parameters, const AdamWConfig& config)
    : parameters_(std::move(parameters)), config_(config), num_steps_(parameters_.size(), 0) {
  for (const at::Tensor& parameter : parameters_) {
    TORCH_CHECK(parameter.is_floating_point(), "only floating-point parameters can be trained");
    const at::Tensor like = parameter.detach();
    exp_avg_.push_back(at::zeros_like(like));
    exp_avg_sq_.push_back(at::zeros_like(like));
  }
}

void AdamW::step(double learning_rate) {
  const at::NoGradGuard no_grad;
  size_t next = 0;
  while (next < parameters_.size()) {
    Group group;
    const int64_t full = parameters_[next].is_cpu() ? kHostGroupNumbers : kGroupNumbers;
    for (; next < parameters_.size() && group.num_numbers < full; ++next) {
      if (!parameters_[next].grad().defined()) continue;
      group.num_numbers += parameters_[next].numel();
      group.parameters.push_back(parameters_[next].detach());
      group.gradients.push_back(parameters_[next].grad());
      group.exp_avg.push_back(exp_avg_[next]);
      group.exp_avg_sq.push_back(exp_avg_sq_[next]);
      // Bias corrections in double, as torch.
      const auto count = static_cast<double>(++num_steps_[next]);
      group.steps.emplace_back(-(learning_rate / (1.0 - std::pow(config_.beta1, count))));
      group.scales.emplace_back(std::sqrt(1.0 - std::pow(config_.beta2, count)));
    }
    if (!group.parameters.empty()) update(group, learning_rate);
  }
}

void AdamW::update(const Group& group, double learning_rate) const {
  if (config_.weight_decay != 0) {
    at::_foreach_mul_(group.parameters, 1.0 - learning_rate * config_.weight_decay);
  }
  at::_foreach_lerp_(group.exp_avg, group.gradients, 1.0 - config_.beta1);
  at::_foreach_mul_(group.exp_avg_sq, config_.beta2);
  at::_foreach_addcmul_(group.exp_avg_sq, group.gradients, group.gradients, 1.0 - config_.beta2);
  const std::vector<at::Tensor> denominators = at::_foreach_sqrt(group.exp_avg_sq);
  at::_foreach_div_(denominators, group.scales);
  at::_foreach_add_(denominators, config_.epsilon);
  at::_foreach_addcdiv_(group.parameters, group.exp_avg, denominators, group.steps);
}

void AdamW::zero_grad() {
  for (at::Tensor& parameter : parameters_) parameter.mutable_grad().reset();
}

std::vector<std::pair<std::string, at::Tensor>> AdamW::state() const {
  std::vector<std::pair<std::string, at::Tensor>> result;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    result.emplace_back(fmt::format("{}.exp_avg", i), exp_avg_[i]);
    result.emplace_back(fmt::format("{}.exp_avg_sq", i), exp_avg_sq_[i]);
    result.emplace_back(fmt::format("{}.step", i), at::scalar_tensor(num_steps_[i], at::kLong));
  }
  return result;
}

void AdamW::load_state(const std::vector<std::pair<std::string, at::Tensor>>& state) {
  const SavedState saved(state, 3 * parameters_.size());
  std::vector<at::Tensor> exp_avg, exp_avg_sq;
  std::vector<int64_t> num_steps;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    exp_avg.push_back(saved.take(fmt::format("{}.exp_avg", i), exp_avg_[i]));
    exp_avg_sq.push_back(saved.take_nonnegative(fmt::format("{}.exp_avg_sq", i), exp_avg_sq_[i]));
    num_steps.push_back(saved.take_step(fmt::format("{}.step", i)));
  }
  exp_avg_ = std::move(exp_avg);
  exp_avg_sq_ = std::move(exp_avg_sq);
  num_steps_ = std::move(num_steps);
}

double clip_grad_norm(const std::vector<at::Tensor>& parameters, double max_norm) {
  const at::NoGradGuard no_grad;
  TORCH_CHECK(max_norm >= 0, "max_norm is at least 0");
  std::vector<at::Tensor> gradients;
  for (const at::Tensor& parameter : parameters) {
    if (parameter.grad().defined()) gradients.push_back(parameter.grad());
  }
  if (gradients.empty()) return 0;
  const std::vector<at::Tensor> norms = at::_foreach_norm(gradients, 2, at::kDouble);
  const at::Tensor host = at::stack(norms).cpu();  // one copy from a device
  double squares = 0;
  for (int64_t i = 0; i < host.numel(); ++i) {
    const double norm = host.const_data_ptr<double>()[i];
    squares += norm * norm;
  }
  const double norm = std::sqrt(squares);
  const double factor = max_norm / (norm + 1e-6);
  if (max_norm == 0 || !std::isfinite(norm) || factor >= 1.0) return norm;
  at::_foreach_mul_(gradients, factor);
  return norm;
}

}  // namespace leash
