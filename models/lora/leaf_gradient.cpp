#include "models/lora/leaf_gradient.h"

#include <ATen/ops/index_select.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/graph_task.h>
#include <torch/csrc/autograd/variable.h>

#include "models/kernels/matrix_product.h"
#include "models/kernels/node.h"

namespace leash {
namespace {

// Whether adding to leaf.grad is all that autograd would do with a gradient of this dtype. It would
// take a lock, too: one backward pass at a time goes over a leaf. Hooks of the leaf are asked for,
// those of its AccumulateGrad node are not: nobody here has any.
bool adds_to_grad(const at::Tensor& leaf, at::ScalarType dtype) {
  if (!leaf.is_leaf()) return false;
  const auto* wanted = torch::autograd::get_current_graph_task_exec_info();
  const bool plain_backward = wanted == nullptr || wanted->empty();
  const at::Tensor& grad = leaf.grad();
  return plain_backward && grad.defined() && grad.is_contiguous() && grad.scalar_type() == dtype &&
         torch::autograd::impl::hooks(leaf).empty() &&
         torch::autograd::impl::post_acc_grad_hooks(leaf) == nullptr;
}

}  // namespace

at::Tensor leaf_product_gradient(const at::Tensor& leaf, const at::Tensor& left,
                                 const at::Tensor& right) {
  const bool same = left.scalar_type() == right.scalar_type();
  if (same && adds_to_grad(leaf, left.scalar_type())) {
    matrix_product_into(leaf.grad(), left, right, /*add=*/true);
    return {};
  }
  return matrix_product(left, right).to(leaf.scalar_type());
}

at::Tensor trained_rows(const at::Tensor& table, const at::Tensor& ids) {
  const at::Tensor rows = table.detach().index_select(0, ids);
  if (!differentiable({table})) return rows;
  return with_backward(rows, {table}, "TrainedRowsBackward", [table, ids](const at::Tensor& dy) {
    const bool adds = adds_to_grad(table, dy.scalar_type());
    at::Tensor gradient = adds ? table.grad() : at::zeros_like(table.detach());
    const at::Tensor added = dy.to(gradient.scalar_type());
    // Each is the one of the two that adds in the same order every time.
    if (gradient.is_cpu()) {
      gradient.index_add_(0, ids, added);
    } else {
      gradient.index_put_({ids}, added, /*accumulate=*/true);
    }
    return torch::autograd::variable_list{adds ? at::Tensor() : gradient};
  });
}

}  // namespace leash
