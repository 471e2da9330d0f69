#include "rl/optim/grad_scaler.h"

#include <ATen/ops/_amp_foreach_non_finite_check_and_unscale.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <cmath>

#include "models/errors.h"

namespace leash {
namespace {

// torch keeps the scale in float32.
double as_float(double value) { return static_cast<double>(static_cast<float>(value)); }

}  // namespace

GradScaler::GradScaler(const GradScalerConfig& config)
    : config_(config), state_{.scale = as_float(config.init_scale)} {
  TORCH_CHECK(state_.scale > 0 && std::isfinite(state_.scale), "init_scale: ", config.init_scale);
  TORCH_CHECK(config.growth_factor > 1, "growth_factor: ", config.growth_factor);
  TORCH_CHECK(config.backoff_factor > 0 && config.backoff_factor < 1,
              "backoff_factor: ", config.backoff_factor);
  TORCH_CHECK(config.growth_interval > 0, "growth_interval: ", config.growth_interval);
}

void GradScaler::load_state(const GradScalerState& state) {
  if (!(state.scale > 0) || !std::isfinite(state.scale) || state.scale != as_float(state.scale) ||
      state.growth_tracker < 0) {
    throw FormatError(fmt::format("a loss scale of {} with {} updates behind it is none",
                                  state.scale, state.growth_tracker));
  }
  state_ = state;
}

bool GradScaler::unscale(const std::vector<at::Tensor>& parameters) const {
  const c10::AutoGradMode no_grad(false);
  std::vector<at::Tensor> gradients;
  for (const at::Tensor& parameter : parameters) {
    if (parameter.grad().defined()) gradients.push_back(parameter.grad());
  }
  if (gradients.empty()) return true;
  const auto options = at::TensorOptions(at::kFloat).device(gradients[0].device());
  at::Tensor overflow = at::zeros({1}, options);
  at::_amp_foreach_non_finite_check_and_unscale_(gradients, overflow,
                                                 at::full({1}, 1.0 / state_.scale, options));
  return overflow.item<float>() == 0;
}

void GradScaler::update(bool overflow) {
  if (overflow) {
    state_ = {.scale = as_float(state_.scale * config_.backoff_factor), .growth_tracker = 0};
    return;
  }
  if (++state_.growth_tracker < config_.growth_interval) return;
  const double grown = as_float(state_.scale * config_.growth_factor);
  if (std::isfinite(grown)) state_.scale = grown;
  state_.growth_tracker = 0;
}

}  // namespace leash
