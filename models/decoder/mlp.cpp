#include "models/decoder/mlp.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/silu.h>
#include <ATen/record_function.h>

#include "models/kernels/kernels.h"
#include "models/kernels/node.h"

namespace leash {
namespace {

at::Tensor backward(const at::Tensor& gate_up, const at::Tensor& dy) {
  at::Tensor gradient = at::empty_like(gate_up);
  const int64_t n = dy.size(1);
  const float* px = gate_up.const_data_ptr<float>();
  const float* pdy = dy.const_data_ptr<float>();
  float* pg = gradient.mutable_data_ptr<float>();
  RECORD_USER_SCOPE("leash::gated_activation_backward");
  at::parallel_for(0, dy.size(0), /*grain_size=*/16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* gate = px + row * 2 * n;
      float* dgate = pg + row * 2 * n;
      kernels::silu_gate_backward(gate, gate + n, pdy + row * n, dgate, dgate + n, n);
    }
  });
  return gradient;
}

}  // namespace

at::Tensor activated(const at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::silu:
      return at::silu(x);
    case Activation::gelu:
      return at::gelu(x);
    case Activation::gelu_tanh:
      return at::gelu(x, "tanh");
    case Activation::relu:
      return x.relu();
  }
  TORCH_CHECK(false, "unknown activation");
}

at::Tensor gated_activation_plain(const at::Tensor& gate_up, Activation activation) {
  const int64_t n = gate_up.size(1) / 2;
  return activated(gate_up.narrow(1, 0, n), activation).mul(gate_up.narrow(1, n, n));
}

at::Tensor gated_activation(const at::Tensor& gate_up, Activation activation) {
  if (gate_up.scalar_type() != at::kFloat || activation != Activation::silu || !gate_up.is_cpu()) {
    return gated_activation_plain(gate_up, activation);
  }
  const at::Tensor input = gate_up.detach().contiguous();
  const int64_t n = input.size(1) / 2;
  at::Tensor y = at::empty({input.size(0), n}, input.options());
  const float* px = input.const_data_ptr<float>();
  float* py = y.mutable_data_ptr<float>();
  RECORD_USER_SCOPE("leash::gated_activation");
  at::parallel_for(0, input.size(0), /*grain_size=*/16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      kernels::silu_gate(px + row * 2 * n, px + row * 2 * n + n, py + row * n, n);
    }
  });
  if (!differentiable({gate_up})) return y;
  return with_backward(y, {gate_up}, "GatedActivationBackward", [input](const at::Tensor& dy) {
    return torch::autograd::variable_list{backward(input, dy)};
  });
}

}  // namespace leash
