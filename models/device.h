// Types and threads of this machine.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>

#include "models/model_config.h"

namespace leash {

// The type that weights and activations get; `auto` is float32 on a CPU.
at::ScalarType scalar_type(DtypeChoice choice);

// What a product of 64 x 576 by 576 x 1536 reaches here, in GFLOP/s: the best of three, with the
// threads in effect. Takes a few milliseconds, or half a second where bfloat16 is emulated.
struct ProductSpeeds {
  double float32 = 0;
  double bfloat16 = 0;
};
ProductSpeeds measure_products();

// What a person who asked for bfloat16 should know where it is the slower type; else nothing.
std::optional<std::string> slow_bfloat16(const ProductSpeeds& speeds);

// Threads of one operation on the calling thread; 0: as many as there are cores. Returns the number
// in effect.
int64_t set_threads(int64_t threads);

}  // namespace leash
