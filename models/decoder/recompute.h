// Gradient checkpointing (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"): keep
// a block's input, compute the block again when its gradient is needed.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace leash {

// block(x) without keeping what is inside. `parameters` are the leaves that the block reads; in the
// backward pass their gradients are returned like everybody's, so that hooks and autograd::grad see
// nothing unusual.
at::Tensor recomputed(const std::function<at::Tensor(const at::Tensor&)>& block,
                      const at::Tensor& x, const std::vector<at::Tensor>& parameters);

}  // namespace leash
