// Gradients of trained copies of whole weights, which are as large as the weights: added to what a
// leaf has already, without a tensor of their own in between.
#pragma once

#include <ATen/core/Tensor.h>

namespace leash {

// For a node's apply(): the gradient left right of `leaf` [rows, columns]; left [rows, n], right
// [n, columns]. Where a plain backward() runs and the leaf has a gradient already, the product is
// added to it and what is returned is undefined, else autograd gets it: in torch::autograd::grad(),
// where the leaf has a hook (a gradient that is sent to other ranks), or where dtypes differ.
at::Tensor leaf_product_gradient(const at::Tensor& leaf, const at::Tensor& left,
                                 const at::Tensor& right);

// Rows of `table` [ids, width] for ids int64 [n] -> [n, width], differentiable in the table. As
// at::embedding, whose backward pass makes a table of zeros each time; this one adds its rows to
// the gradient that is there, on the same terms.
at::Tensor trained_rows(const at::Tensor& table, const at::Tensor& ids);

}  // namespace leash
