// For tests that need a GPU: they skip, and say so, where there is none.
#pragma once

#include <gtest/gtest.h>

#include "models/device/device.h"

namespace leash::testing {

inline const at::Device kGpu{at::kCUDA, 0};

}  // namespace leash::testing

// As the first statement of a test.
#define LEASH_NEEDS_GPU()                                                 \
  if (const auto problem = ::leash::device_problem(leash::testing::kGpu)) \
  GTEST_SKIP() << "NOT RUN, nothing was compared: " << *problem
