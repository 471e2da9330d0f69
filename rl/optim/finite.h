// Whether an update left numbers behind.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace leash {

// Whether all numbers of these tensors are finite, by one sum of each.
bool all_finite(const std::vector<at::Tensor>& tensors);

}  // namespace leash
