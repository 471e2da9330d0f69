// The arithmetic of rotary embeddings' kernel (Su et al. 2021, arXiv:2104.09864, in the half-split
// layout of Hugging Face), for a GPU and for the tests on a CPU.
#pragma once

#include <cstdint>

#include "models/device/host_device.h"

namespace leash {

// Entry `i` of a head whose pairs (j, j + half) are turned by the angles whose cosines and sines
// are given; entries from 2 half on stay. `sign` -1 turns back.
template <class Number>
LEASH_HOST_DEVICE float rotated_entry(const Number* head, const float* cosines, const float* sines,
                                      float sign, int64_t half, int64_t i) {
  const float own = static_cast<float>(head[i]);
  if (i >= 2 * half) return own;
  const int64_t j = i < half ? i : i - half;
  const float other = static_cast<float>(head[i < half ? i + half : j]);
  const float turned = sign * sines[j] * other;
  return i < half ? own * cosines[j] - turned : own * cosines[j] + turned;
}

}  // namespace leash
