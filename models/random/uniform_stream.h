// The arithmetic of uniform draws (models/random/random.h), for a GPU and for the CPU.
#pragma once

// The generator's header forgets what it uses.
// clang-format off
#include <c10/util/Exception.h>
#include <ATen/core/PhiloxRNGEngine.h>
// clang-format on

#include <cstdint>

#include "models/device/host_device.h"

namespace leash {

// A key's stream of 32-bit words, by what of the key does not depend on the index.
struct PhiloxStream {
  uint64_t key = 0;    // of Philox4x32-10
  uint64_t place = 0;  // the counter's high half

  // Four words.
  LEASH_HOST_DEVICE void block(uint64_t index, uint32_t* words) const {
    at::Philox4_32 philox(key, place, index);
    for (int i = 0; i < 4; ++i) words[i] = philox();
  }
  // Two draws in [0, 1) with 53 bits.
  LEASH_HOST_DEVICE void uniforms(uint64_t index, double* draws) const {
    uint32_t words[4];
    block(index, words);
    for (int i = 0; i < 2; ++i) {
      const uint64_t bits = static_cast<uint64_t>(words[2 * i + 1]) << 32 | words[2 * i];
      draws[i] = static_cast<double>(bits >> 11) * 0x1p-53;
    }
  }
};

// The same as fp32 in [low, low + width).
struct UniformInterval {
  double low = 0, width = 1;
  float first = 0;  // low
  float last = 1;   // the largest below low + width, which rounding to fp32 may reach

  LEASH_HOST_DEVICE float operator()(double u) const {
    const float value = static_cast<float>(low + u * width);
    if (value <= last) return value;
    return last < first ? first : last;
  }
};

}  // namespace leash
