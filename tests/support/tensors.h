// Comparing tensors, with a report that says where they differ.
#pragma once

#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

namespace leash::testing {

// |a - b| <= absolute + relative * |b| everywhere, with equal shapes; the failure names the worst
// entry.
::testing::AssertionResult all_close(const at::Tensor& actual, const at::Tensor& expected,
                                     double relative, double absolute = 0.0);
// Same shape, dtype and bits.
::testing::AssertionResult same_bits(const at::Tensor& actual, const at::Tensor& expected);

// Normally distributed numbers, the same for the same index.
at::Tensor noise(at::IntArrayRef shape, uint64_t index);

}  // namespace leash::testing
