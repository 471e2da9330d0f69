#include "models/attention/rope_frequencies.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace leash {
namespace {

// Llama 3.1's scaling: long wavelengths are slowed by `factor`, short ones kept, and those between
// are blended.
at::Tensor scale_llama3(const at::Tensor& frequencies, const RopeConfig& config) {
  const double original = static_cast<double>(config.original_max_positions);
  const double low_wavelength = original / config.low_freq_factor;
  const double high_wavelength = original / config.high_freq_factor;
  const at::Tensor wavelength = frequencies.reciprocal().mul(2 * std::numbers::pi);
  const at::Tensor slowed = frequencies.div(config.factor);
  const at::Tensor smooth = wavelength.reciprocal()
                                .mul(original)
                                .sub(config.low_freq_factor)
                                .div(config.high_freq_factor - config.low_freq_factor);
  const at::Tensor blended = smooth.neg().add(1).mul(slowed).add(smooth.mul(frequencies));
  const at::Tensor outer = at::where(wavelength.gt(low_wavelength), slowed, frequencies);
  return at::where(wavelength.ge(high_wavelength).logical_and(wavelength.le(low_wavelength)),
                   blended, outer);
}

// YaRN's: pairs that turn more than beta_fast times within the original length are kept, those that
// turn less than beta_slow times are slowed by `factor`, and those between are blended.
at::Tensor scale_yarn(const at::Tensor& periods, const RopeConfig& config) {
  const auto dim = static_cast<double>(config.rotary_dim);
  const auto pair_that_turns = [&](double times) {
    const double length = static_cast<double>(config.original_max_positions);
    return dim * std::log(length / (times * 2 * std::numbers::pi)) / (2 * std::log(config.theta));
  };
  double first = pair_that_turns(config.beta_fast), last = pair_that_turns(config.beta_slow);
  if (config.truncate) {
    first = std::floor(first);
    last = std::ceil(last);
  }
  first = std::max(first, 0.0);
  last = std::min(last, dim - 1);
  if (first == last) last += 0.001;
  const at::Tensor slowed =
      at::arange(config.rotary_dim / 2, periods.options()).sub(first).div(last - first).clamp(0, 1);
  const at::Tensor kept = slowed.neg().add(1);
  return periods.mul(config.factor)
      .reciprocal()
      .mul(kept.neg().add(1))
      .add(periods.reciprocal().mul(kept));
}

}  // namespace

at::Tensor rope_frequencies(const RopeConfig& config) {
  const auto options = at::TensorOptions().dtype(at::kFloat);
  const at::Tensor exponents =
      at::arange(0, config.rotary_dim, 2, options).div(static_cast<double>(config.rotary_dim));
  const at::Tensor periods = at::pow(at::Scalar(config.theta), exponents);
  switch (config.scaling) {
    case RopeScaling::none:
    case RopeScaling::dynamic:
      return periods.reciprocal();
    case RopeScaling::linear:
      return periods.reciprocal().div(config.factor);
    case RopeScaling::llama3:
      return scale_llama3(periods.reciprocal(), config);
    case RopeScaling::yarn:
      return scale_yarn(periods, config);
    case RopeScaling::longrope:
      TORCH_CHECK(static_cast<int64_t>(config.factors.size()) == config.rotary_dim / 2,
                  "rope: ", config.factors.size(), " factors for ", config.rotary_dim / 2,
                  " pairs");
      return at::tensor(config.factors, at::kFloat).mul(periods).reciprocal();
  }
  TORCH_CHECK(false, "rope: unknown scaling");
}

}  // namespace leash
