// Types and threads of this machine.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "models/model_config.h"

namespace leash {

// The type that weights and activations get; `auto` is float32 on a CPU.
at::ScalarType scalar_type(DtypeChoice choice);

// Threads of one operation on the calling thread; 0: as many as there are cores. Returns the number
// in effect.
int64_t set_threads(int64_t threads);

}  // namespace leash
