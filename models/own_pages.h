// Memory for large tensors that come and go: pages of their own, which the system has back as soon
// as they are freed. An allocator keeps what was freed among smaller blocks; with blocks of weights
// that are gathered and dropped by turns that is as much again.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace leash {

// [numel] zeros on the CPU. std::bad_alloc.
at::Tensor own_pages(int64_t numel, at::ScalarType dtype);

}  // namespace leash
