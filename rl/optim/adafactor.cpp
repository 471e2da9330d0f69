#include "rl/optim/adafactor.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <cmath>

namespace leash {
namespace {

at::ScalarType compute_type(const at::Tensor& parameter) {
  return parameter.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

at::Tensor root_mean_square(const at::Tensor& values) {
  return values.norm(2) / std::sqrt(static_cast<double>(values.numel()));
}

}  // namespace

Adafactor::Adafactor(std::vector<at::Tensor> parameters, const AdafactorConfig& config)
    : parameters_(std::move(parameters)), config_(config) {
  for (const at::Tensor& parameter : parameters_) {
    TORCH_CHECK(parameter.is_floating_point(), "only floating-point parameters can be trained");
    const auto options = at::TensorOptions(compute_type(parameter)).device(parameter.device());
    std::vector<int64_t> shape = parameter.sizes().vec();
    Averages averages;
    if (shape.size() >= 2) {
      const int64_t num_columns = shape.back();
      shape.pop_back();
      averages.squares = at::zeros(shape, options);
      shape.back() = num_columns;
      averages.columns = at::zeros(shape, options);
    } else {
      averages.squares = at::zeros(shape, options);
    }
    averages_.push_back(std::move(averages));
  }
}

at::Tensor Adafactor::normalized(const at::Tensor& grad, Averages& averages) const {
  const double beta2 = 1.0 - std::pow(static_cast<double>(averages.num_steps), config_.decay_rate);
  const at::Tensor squares = grad.square() + config_.epsilon;
  if (!averages.columns) {
    averages.squares.mul_(beta2).add_(squares, 1.0 - beta2);
    return averages.squares.rsqrt().mul_(grad);
  }
  const at::Tensor &rows = averages.squares, &columns = *averages.columns;
  rows.mul_(beta2).add_(squares.mean(-1), 1.0 - beta2);
  columns.mul_(beta2).add_(squares.mean(-2), 1.0 - beta2);
  const at::Tensor row_factor = (rows / rows.mean(-1, /*keepdim=*/true)).rsqrt_().unsqueeze(-1);
  return row_factor.mul(columns.unsqueeze(-2).rsqrt()).mul_(grad);
}

void Adafactor::step(double learning_rate) {
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const at::Tensor& parameter = parameters_[i];
    if (!parameter.grad().defined()) continue;
    ++averages_[i].num_steps;
    const at::Tensor grad = parameter.grad().to(compute_type(parameter));
    const at::Tensor update = normalized(grad, averages_[i]);
    update.div_((root_mean_square(update) / config_.clip_threshold).clamp_min_(1.0));
    const at::Tensor values = parameter.detach().to(compute_type(parameter));
    if (config_.weight_decay != 0) values.add_(values, -config_.weight_decay * learning_rate);
    values.sub_(update.mul_(learning_rate));
    parameter.detach().copy_(values);
  }
}

void Adafactor::zero_grad() {
  for (at::Tensor& parameter : parameters_) parameter.mutable_grad().reset();
}

OptimizerState Adafactor::state() const {
  OptimizerState result;
  for (size_t i = 0; i < averages_.size(); ++i) {
    const Averages& averages = averages_[i];
    const char* suffix = averages.columns ? "_row" : "";
    result.emplace_back(fmt::format("{}.exp_avg_sq{}", i, suffix), averages.squares);
    if (averages.columns) {
      result.emplace_back(fmt::format("{}.exp_avg_sq_col", i), *averages.columns);
    }
    result.emplace_back(fmt::format("{}.step", i),
                        at::scalar_tensor(averages.num_steps, at::kLong));
  }
  return result;
}

void Adafactor::load_state(const OptimizerState& state) {
  size_t num_tensors = 0;
  for (const Averages& averages : averages_) num_tensors += averages.columns ? 3 : 2;
  const SavedState saved(state, num_tensors);
  std::vector<Averages> loaded;
  for (size_t i = 0; i < averages_.size(); ++i) {
    const Averages& own = averages_[i];
    const char* suffix = own.columns ? "_row" : "";
    Averages averages;
    averages.squares =
        saved.take_nonnegative(fmt::format("{}.exp_avg_sq{}", i, suffix), own.squares);
    if (own.columns) {
      averages.columns = saved.take_nonnegative(fmt::format("{}.exp_avg_sq_col", i), *own.columns);
    }
    averages.num_steps = saved.take_step(fmt::format("{}.step", i));
    loaded.push_back(std::move(averages));
  }
  averages_ = std::move(loaded);
}

}  // namespace leash
