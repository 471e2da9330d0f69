#include "models/decoder/recompute.h"

#include <torch/csrc/autograd/autograd.h>

#include "models/kernels/node.h"

namespace leash {

at::Tensor recomputed(const std::function<at::Tensor(const at::Tensor&)>& block,
                      const at::Tensor& x, const std::vector<at::Tensor>& parameters) {
  torch::autograd::variable_list inputs{x};
  inputs.insert(inputs.end(), parameters.begin(), parameters.end());
  if (!differentiable(inputs)) return block(x);
  at::Tensor y;
  {
    const c10::AutoGradMode no_grad(false);
    y = block(x.detach());
  }
  // Where nothing before the block trains, no gradient of its input is computed either.
  const bool wants_x = x.requires_grad();
  const auto backward = [block, kept = x.detach(), parameters, wants_x](const at::Tensor& dy) {
    const at::Tensor start = kept.detach().requires_grad_(wants_x);
    torch::autograd::variable_list leaves = parameters;
    if (wants_x) leaves.insert(leaves.begin(), start);
    at::Tensor again;
    {
      const c10::AutoGradMode with_grad(true);
      again = block(start);
    }
    auto gradients = torch::autograd::grad({again}, leaves, {dy}, /*retain_graph=*/std::nullopt,
                                           /*create_graph=*/false, /*allow_unused=*/true);
    if (!wants_x) gradients.insert(gradients.begin(), at::Tensor());
    return gradients;
  };
  return with_backward(y, inputs, "RecomputedBackward", backward);
}

}  // namespace leash
