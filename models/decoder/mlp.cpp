#include "models/decoder/mlp.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/gelu_backward.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/silu_backward.h>
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

const char* approximation(Activation activation) {
  return activation == Activation::gelu_tanh ? "tanh" : "none";
}

at::Tensor activated_plain(const at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::silu:
      return at::silu(x);
    case Activation::gelu:
    case Activation::gelu_tanh:
      return at::gelu(x, approximation(activation));
    case Activation::relu:
      return x.relu();
  }
  TORCH_CHECK(false, "unknown activation");
}

// LibTorch's operators compute what is behind the last whole vector of a thread's part in another
// way, so that a number's bits would depend on its place in the batch: one call for each row.
at::Tensor activated_by_rows(const at::Tensor& x, Activation activation) {
  at::Tensor y = at::empty_like(x);
  at::parallel_for(0, x.size(0), /*grain_size=*/8, [&](int64_t begin, int64_t end) {
    const c10::AutoGradMode no_grad(false);
    for (int64_t row = begin; row < end; ++row) {
      at::Tensor out = y.select(0, row);
      if (activation == Activation::silu) {
        at::silu_out(out, x.select(0, row));
      } else {
        at::gelu_out(out, x.select(0, row), approximation(activation));
      }
    }
  });
  return y;
}

at::Tensor activation_gradient(const at::Tensor& dy, const at::Tensor& x, Activation activation) {
  if (activation == Activation::silu) return at::silu_backward(dy, x);
  return at::gelu_backward(dy, x, approximation(activation));
}

}  // namespace

at::Tensor activated(const at::Tensor& x, Activation activation) {
  const bool by_rows = x.is_cpu() && x.scalar_type() == at::kFloat && x.dim() == 2;
  if (!by_rows || activation == Activation::relu) return activated_plain(x, activation);
  const at::Tensor input = x.detach().contiguous();
  const at::Tensor y = activated_by_rows(input, activation);
  if (!differentiable({x})) return y;
  return with_backward(y, {x}, "ActivatedBackward", [input, activation](const at::Tensor& dy) {
    return torch::autograd::variable_list{activation_gradient(dy, input, activation)};
  });
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
