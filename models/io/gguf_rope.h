// How a GGUF describes rotary positions: metadata, and for Llama 3's scaling a tensor of divisors.
#pragma once

#include <cstdint>
#include <vector>

#include "models/families/decoder_config.h"
#include "models/io/gguf_metadata.h"

namespace leash {

// The tensor that divides each frequency; it belongs to the configuration, not to the weights.
inline constexpr const char* kRopeDivisors = "rope_freqs.weight";

// What Llama 3's scaling divides each frequency by. [rotary_dim / 2]
std::vector<double> llama3_divisors(const RopeConfig& rope);

// longrope's, for texts up to the original length and beyond it; likewise no weights.
inline constexpr const char* kShortFactors = "rope_factors_short.weight";
inline constexpr const char* kLongFactors = "rope_factors_long.weight";

// FormatError for a scaling that is not supported. `max_positions`, the stated context, is cut
// where a scaling holds no longer.
RopeConfig rope_from_gguf(const GgufMetadata& metadata, int64_t head_dim, int64_t& max_positions);

}  // namespace leash
