#include "models/decoder/norm.h"

#include <ATen/Parallel.h>
#include <ATen/ops/_fused_rms_norm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/record_function.h>

#include "models/kernels/kernels.h"
#include "models/kernels/node.h"

namespace leash {
namespace {

constexpr int64_t kGrain = 16;  // rows that are worth a thread

at::Tensor backward(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& rstd,
                    const at::Tensor& dy) {
  at::Tensor dx = at::empty_like(x);
  const int64_t n = x.size(1);
  const float* px = x.const_data_ptr<float>();
  const float* pw = weight.const_data_ptr<float>();
  const float* ps = rstd.const_data_ptr<float>();
  const float* pdy = dy.const_data_ptr<float>();
  float* pdx = dx.mutable_data_ptr<float>();
  RECORD_USER_SCOPE("leash::rms_norm_backward");
  at::parallel_for(0, x.size(0), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      kernels::rms_norm_row_backward(px + row * n, pw, pdy + row * n, ps[row], pdx + row * n, n);
    }
  });
  return dx;
}

at::Tensor weight_backward(const at::Tensor& x, const at::Tensor& rstd, const at::Tensor& dy) {
  const int64_t n = x.size(1);
  at::Tensor dw = at::empty({n}, x.options());
  const float* px = x.const_data_ptr<float>();
  const float* ps = rstd.const_data_ptr<float>();
  const float* pdy = dy.const_data_ptr<float>();
  float* pdw = dw.mutable_data_ptr<float>();
  // By columns, so that the sums do not depend on the threads.
  at::parallel_for(0, n, /*grain_size=*/64, [&](int64_t begin, int64_t end) {
    kernels::rms_norm_weight_backward(px + begin, pdy + begin, ps, x.size(0), n, end - begin,
                                      pdw + begin);
  });
  return dw;
}

}  // namespace

at::Tensor rms_norm_plain(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  const auto wide = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor h = x.to(wide);
  const at::Tensor rstd =
      h.square().mean(at::IntArrayRef{-1}, /*keepdim=*/true).add(epsilon).rsqrt();
  // A wider weight (a norm over a quantised base, a trained copy) counts in its own type.
  return h.mul(rstd).to(x.scalar_type()).mul(weight).to(x.scalar_type());
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  const bool fused = x.scalar_type() == at::kFloat && weight.scalar_type() == at::kFloat &&
                     x.is_cpu() && x.dim() == 2;
  if (x.is_cuda() && x.scalar_type() == weight.scalar_type()) {
    return std::get<0>(at::_fused_rms_norm(x, {x.size(-1)}, weight, epsilon));
  }
  if (!fused) return rms_norm_plain(x, weight, epsilon);
  const at::Tensor input = x.detach().contiguous();
  const at::Tensor w = weight.detach().contiguous();
  at::Tensor y = at::empty_like(input);
  at::Tensor rstd = at::empty({input.size(0)}, input.options());
  const int64_t n = input.size(1);
  const float* px = input.const_data_ptr<float>();
  const float* pw = w.const_data_ptr<float>();
  float* py = y.mutable_data_ptr<float>();
  float* ps = rstd.mutable_data_ptr<float>();
  RECORD_USER_SCOPE("leash::rms_norm");
  at::parallel_for(0, input.size(0), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      ps[row] = kernels::rms_norm_row(px + row * n, pw, py + row * n, n, epsilon);
    }
  });
  if (!differentiable({x, weight})) return y;
  const bool trained = weight.requires_grad();
  return with_backward(y, {x, weight}, "RmsNormBackward",
                       [input, w, rstd, trained](const at::Tensor& dy) {
                         return torch::autograd::variable_list{
                             backward(input, w, rstd, dy),
                             trained ? weight_backward(input, rstd, dy) : at::Tensor()};
                       });
}

at::Tensor offset_rms_norm(const at::Tensor& x, const at::Tensor& weight, double offset,
                           double epsilon) {
  const auto wide = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor scale = weight.to(wide).add(offset);
  if (x.scalar_type() == wide) return rms_norm(x, scale, epsilon);
  const at::Tensor h = x.to(wide);
  const at::Tensor rstd =
      h.square().mean(at::IntArrayRef{-1}, /*keepdim=*/true).add(epsilon).rsqrt();
  return h.mul(rstd).mul(scale).to(x.scalar_type());
}

at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                      double epsilon) {
  // A wider weight (a norm over a quantised base, a trained copy) counts in its own type.
  const auto type = c10::promoteTypes(x.scalar_type(), weight.scalar_type());
  std::optional<at::Tensor> shift;
  if (bias.defined()) shift = bias.to(type);
  return at::layer_norm(x.to(type), {x.size(-1)}, weight.to(type), shift, epsilon)
      .to(x.scalar_type());
}

}  // namespace leash
