#include "models/recompute.h"

#include <torch/csrc/autograd/autograd.h>

#include "models/node.h"

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
  const at::Tensor kept = x.detach();
  return with_backward(
      y, inputs, "RecomputedBackward", [block, kept, parameters](const at::Tensor& dy) {
        torch::autograd::variable_list leaves{kept.detach().requires_grad_(true)};
        leaves.insert(leaves.end(), parameters.begin(), parameters.end());
        at::Tensor again;
        {
          const c10::AutoGradMode with_grad(true);
          again = block(leaves[0]);
        }
        return torch::autograd::grad({again}, leaves, {dy}, /*retain_graph=*/std::nullopt,
                                     /*create_graph=*/false,
                                     /*allow_unused=*/true);
      });
}

}  // namespace leash
