// The launcher of the kernel of uniform draws. Pointers are of the device that is current.
#pragma once

#include <cstdint>

#include "models/random/uniform_stream.h"

namespace leash::cuda {

// The draws with indices 0 … count-1. `stream` is a cudaStream_t.
void launch_uniforms(const PhiloxStream& draws, const UniformInterval& interval, int64_t count,
                     float* out, void* stream);

}  // namespace leash::cuda
