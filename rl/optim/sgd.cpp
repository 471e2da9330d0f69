#include "rl/optim/sgd.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>

namespace leash {

Sgd::Sgd(std::vector<at::Tensor> parameters, const SgdConfig& config)
    : parameters_(std::move(parameters)), config_(config) {
  for (const at::Tensor& parameter : parameters_) {
    TORCH_CHECK(parameter.is_floating_point(), "only floating-point parameters can be trained");
  }
}

void Sgd::step(double learning_rate) {
  const at::NoGradGuard no_grad;
  for (const at::Tensor& parameter : parameters_) {
    at::Tensor grad = parameter.grad();
    if (!grad.defined()) continue;
    if (config_.weight_decay != 0) grad = grad.add(parameter, config_.weight_decay);
    parameter.add_(grad, -learning_rate);
  }
}

void Sgd::zero_grad() {
  for (at::Tensor& parameter : parameters_) parameter.mutable_grad().reset();
}

}  // namespace leash
