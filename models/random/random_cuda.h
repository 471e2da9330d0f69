// Uniform draws on a GPU; in builds with CUDA.
#pragma once

#include <ATen/core/Tensor.h>

#include "models/random/uniform_stream.h"

namespace leash::cuda {

// Fills `out`, fp32 and contiguous, with the draws with indices 0, 1, 2, …
void fill_uniform(const PhiloxStream& draws, const UniformInterval& interval,
                  const at::Tensor& out);

}  // namespace leash::cuda
