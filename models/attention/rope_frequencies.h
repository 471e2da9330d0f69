// How fast the pairs of a rotated head turn, with every kind of scaling.
#pragma once

#include <ATen/core/Tensor.h>

#include "models/families/decoder_config.h"

namespace leash {

// Radians per position, [rotary_dim / 2] fp32, computed as transformers 5 does
// (modeling_rope_utils.py): Llama 3.1's scaling, YaRN (Peng et al. 2023, arXiv:2309.00071),
// LongRoPE (Ding et al. 2024, arXiv:2402.13753) with its short factors. dynamic is none up to the
// original length, and longer texts are refused elsewhere.
at::Tensor rope_frequencies(const RopeConfig& config);

}  // namespace leash
