// How a GGUF describes rotary positions: metadata, and for Llama 3's scaling a tensor of divisors.
#pragma once

#include <cstdint>
#include <string_view>

#include "models/families/decoder_config.h"
#include "models/io/gguf.h"

namespace leash {

// The tensor that divides each frequency; it belongs to the configuration, not to the weights.
inline constexpr std::string_view kRopeDivisors = "rope_freqs.weight";

// FormatError for a scaling that is not supported.
RopeConfig rope_from_gguf(const GgufFile& file, std::string_view architecture, int64_t head_dim);

}  // namespace leash
