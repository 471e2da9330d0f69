#include "rl/optim/adamw8bit.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "rl/optim/paged_memory.h"

namespace leash {
namespace {

// Decays the averages and adds the gradient to them.
void accumulate(const at::Tensor& exp_avg, const at::Tensor& exp_avg_sq, const at::Tensor& grad,
                const AdamWConfig& config) {
  exp_avg.mul_(config.beta1).add_(grad, 1.0 - config.beta1);
  exp_avg_sq.mul_(config.beta2).addcmul_(grad, grad, 1.0 - config.beta2);
}

// Bias corrections of the two averages.
struct Corrections {
  double mean = 1.0;         // 1 - β1^t
  double square_root = 1.0;  // √(1 - β2^t)
};

Corrections corrections(const AdamWConfig& config, int64_t num_steps) {
  const auto count = static_cast<double>(num_steps);
  return {1.0 - std::pow(config.beta1, count), std::sqrt(1.0 - std::pow(config.beta2, count))};
}

// The parameter in float32 after weight decay: the parameter itself where it is float32.
at::Tensor decayed(const at::Tensor& parameter, double learning_rate, const AdamWConfig& config) {
  const at::Tensor values = parameter.detach().to(at::kFloat);
  if (config.weight_decay > 0) values.mul_(1.0 - learning_rate * config.weight_decay);
  return values;
}

}  // namespace

AdamW8bit::AdamW8bit(std::vector<at::Tensor> parameters, const AdamWConfig& config, bool paged)
    : parameters_(std::move(parameters)), config_(config) {
  for (const at::Tensor& parameter : parameters_) {
    TORCH_CHECK(parameter.is_floating_point(), "only floating-point parameters can be trained");
    const bool pages = paged && parameter.numel() >= kMinPagedElements;
    moments_.push_back({.exp_avg = zero_moment(parameter, pages),
                        .exp_avg_sq = zero_moment(parameter, pages),
                        .paged = pages});
  }
}

int64_t AdamW8bit::num_paged() const {
  return std::ranges::count_if(moments_, [](const Moments& moments) { return moments.paged; });
}

AdamW8bit::Moment AdamW8bit::zero_moment(const at::Tensor& parameter, bool paged) {
  if (parameter.numel() >= kMin8bitElements) {
    const BlockwiseCodes zeros = zero_codes(parameter.sizes(), parameter.device());
    if (!paged) return {zeros.codes, zeros.absmax};
    return {paged_zeros(parameter.sizes(), at::kByte, parameter.device()), zeros.absmax};
  }
  const auto options = at::TensorOptions(at::kFloat).device(parameter.device());
  return {at::zeros(parameter.sizes(), options), at::zeros({0}, options)};
}

void AdamW8bit::step(double learning_rate) {
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (!parameters_[i].grad().defined()) continue;
    ++moments_[i].num_steps;
    if (moments_[i].quantized()) {
      update_quantized(parameters_[i], moments_[i], learning_rate);
    } else {
      update_small(parameters_[i], moments_[i], learning_rate);
    }
  }
}

void AdamW8bit::update_quantized(const at::Tensor& parameter, Moments& moments,
                                 double learning_rate) const {
  Moment &first = moments.exp_avg, &second = moments.exp_avg_sq;
  if (moments.paged) {
    prefetch_pages(first.values);
    prefetch_pages(second.values);
  }
  const at::Tensor exp_avg =
      dequantize_blockwise({first.values, first.absmax}, DynamicMap::with_sign);
  const at::Tensor exp_avg_sq =
      dequantize_blockwise({second.values, second.absmax}, DynamicMap::without_sign);
  accumulate(exp_avg, exp_avg_sq, parameter.grad().to(at::kFloat), config_);
  const Corrections correction = corrections(config_, moments.num_steps);
  const at::Tensor denominator = (exp_avg_sq.sqrt() / correction.square_root).add_(config_.epsilon);
  const at::Tensor values = decayed(parameter, learning_rate, config_);
  values.addcdiv_(exp_avg, denominator, -learning_rate / correction.mean);
  parameter.detach().copy_(values);
  const BlockwiseCodes q1 = quantize_blockwise(exp_avg, DynamicMap::with_sign);
  const BlockwiseCodes q2 = quantize_blockwise(exp_avg_sq, DynamicMap::without_sign);
  put(first, q1.codes, q1.absmax, moments.paged);
  put(second, q2.codes, q2.absmax, moments.paged);
}

void AdamW8bit::put(Moment& moment, const at::Tensor& values, const at::Tensor& absmax,
                    bool paged) {
  moment.absmax = absmax;
  if (paged) {
    moment.values.copy_(values);
  } else {
    moment.values = values;
  }
}

void AdamW8bit::update_small(const at::Tensor& parameter, Moments& moments,
                             double learning_rate) const {
  const at::Tensor &exp_avg = moments.exp_avg.values, &exp_avg_sq = moments.exp_avg_sq.values;
  accumulate(exp_avg, exp_avg_sq, parameter.grad().to(at::kFloat), config_);
  const Corrections correction = corrections(config_, moments.num_steps);
  const at::Tensor values = decayed(parameter, learning_rate, config_);
  const at::Tensor update =
      exp_avg / (exp_avg_sq.sqrt() + config_.epsilon * correction.square_root);
  values.add_(update, -learning_rate * correction.square_root / correction.mean);
  parameter.detach().copy_(values);
}

void AdamW8bit::zero_grad() {
  for (at::Tensor& parameter : parameters_) parameter.mutable_grad().reset();
}

OptimizerState AdamW8bit::state() const {
  OptimizerState result;
  const auto add = [&](const std::string& name, const Moment& moment, bool quantized) {
    result.emplace_back(name, moment.values);
    if (quantized) result.emplace_back(name + "_absmax", moment.absmax);
  };
  for (size_t i = 0; i < moments_.size(); ++i) {
    add(fmt::format("{}.exp_avg", i), moments_[i].exp_avg, moments_[i].quantized());
    add(fmt::format("{}.exp_avg_sq", i), moments_[i].exp_avg_sq, moments_[i].quantized());
    result.emplace_back(fmt::format("{}.step", i),
                        at::scalar_tensor(moments_[i].num_steps, at::kLong));
  }
  return result;
}

AdamW8bit::Moment AdamW8bit::taken(const SavedState& saved, const std::string& name,
                                   const Moment& like, bool nonnegative) {
  if (like.values.scalar_type() == at::kByte) {
    return {saved.take(name, like.values), saved.take_nonnegative(name + "_absmax", like.absmax)};
  }
  return {nonnegative ? saved.take_nonnegative(name, like.values) : saved.take(name, like.values),
          like.absmax};
}

void AdamW8bit::load_state(const OptimizerState& state) {
  size_t num_tensors = 0;
  for (const Moments& moments : moments_) num_tensors += moments.quantized() ? 5 : 3;
  const SavedState saved(state, num_tensors);
  std::vector<Moments> loaded;
  for (size_t i = 0; i < moments_.size(); ++i) {
    loaded.push_back(
        {.exp_avg = taken(saved, fmt::format("{}.exp_avg", i), moments_[i].exp_avg, false),
         .exp_avg_sq = taken(saved, fmt::format("{}.exp_avg_sq", i), moments_[i].exp_avg_sq, true),
         .num_steps = saved.take_step(fmt::format("{}.step", i))});
  }
  for (size_t i = 0; i < loaded.size(); ++i) {
    Moments& moments = moments_[i];
    put(moments.exp_avg, loaded[i].exp_avg.values, loaded[i].exp_avg.absmax, moments.paged);
    put(moments.exp_avg_sq, loaded[i].exp_avg_sq.values, loaded[i].exp_avg_sq.absmax,
        moments.paged);
    moments.num_steps = loaded[i].num_steps;
  }
}

}  // namespace leash
