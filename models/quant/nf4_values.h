// One value of an NF4 matrix at a time (nf4.h has the layout), for kernels and their tests: the
// same bits as the rows of nf4.cpp. Without fused multiply-adds.
#pragma once

#include <cstdint>

#include "models/device/host_device.h"

namespace leash {

// An Nf4Matrix as pointers, all on one device.
struct Nf4Pointers {
  const uint8_t* codes;        // [(values + 1) / 2]
  const uint8_t* scale_codes;  // [blocks of 64]
  const float* scale_scales;   // [blocks / 256]
  const float* dynamic_map;    // [256]
  float scale_offset;
};

// QLoRA, appendix E.
LEASH_HOST_DEVICE float nf4_code_value(int code) {
  const float values[16] = {-1.0f,
                            -0.6961928009986877f,
                            -0.5250730514526367f,
                            -0.39491748809814453f,
                            -0.28444138169288635f,
                            -0.18477343022823334f,
                            -0.09105003625154495f,
                            0.0f,
                            0.07958029955625534f,
                            0.16093020141124725f,
                            0.24611230194568634f,
                            0.33791524171829224f,
                            0.44070982933044434f,
                            0.5626170039176941f,
                            0.7229568362236023f,
                            1.0f};
  return values[code];
}

LEASH_HOST_DEVICE float nf4_value(const Nf4Pointers& m, int64_t i) {
  const uint8_t byte = m.codes[i / 2];
  const int64_t block = i / 64;
  const float scale =
      m.dynamic_map[m.scale_codes[block]] * m.scale_scales[block / 256] + m.scale_offset;
  return nf4_code_value(i % 2 == 0 ? byte >> 4 : byte & 15) * scale;
}

}  // namespace leash
