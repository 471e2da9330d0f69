// AdamW as torch.optim.AdamW computes it, one parameter after the other.
#include "rl/optim/adamw.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/linalg_vector_norm.h>
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
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const at::Tensor& grad = parameters_[i].grad();
    if (!grad.defined()) continue;
    const auto count = static_cast<double>(++num_steps_[i]);
    if (config_.weight_decay != 0) parameters_[i].mul_(1.0 - learning_rate * config_.weight_decay);
    exp_avg_[i].lerp_(grad, 1.0 - config_.beta1);
    exp_avg_sq_[i].mul_(config_.beta2).addcmul_(grad, grad, 1.0 - config_.beta2);
    // Bias corrections in double, as torch.
    const double correction1 = 1.0 - std::pow(config_.beta1, count);
    const double correction2 = 1.0 - std::pow(config_.beta2, count);
    const at::Tensor denominator =
        (exp_avg_sq_[i].sqrt() / std::sqrt(correction2)).add_(config_.epsilon);
    parameters_[i].addcdiv_(exp_avg_[i], denominator, -(learning_rate / correction1));
  }
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
  std::vector<at::Tensor> norms;
  for (const at::Tensor& parameter : parameters) {
    if (!parameter.grad().defined()) continue;
    norms.push_back(
        at::linalg_vector_norm(parameter.grad(), 2, at::OptionalIntArrayRef{}, false, at::kDouble));
  }
  if (norms.empty()) return 0;
  const at::Tensor host = at::stack(norms).cpu();  // one copy from a device
  double squares = 0;
  for (int64_t i = 0; i < host.numel(); ++i) {
    const double norm = host.const_data_ptr<double>()[i];
    squares += norm * norm;
  }
  const double norm = std::sqrt(squares);
  const double factor = max_norm / (norm + 1e-6);
  if (max_norm == 0 || !std::isfinite(norm) || factor >= 1.0) return norm;
  for (const at::Tensor& parameter : parameters) {
    if (parameter.grad().defined()) parameter.grad().mul_(factor);
  }
  return norm;
}

}  // namespace leash
