// Rotary positions from config.json, in the spellings of transformers 4 and 5
// (modeling_rope_utils.py).
#pragma once

#include <cstdint>
#include <optional>

#include "models/families/decoder_config.h"
#include "models/json_fields.h"

namespace leash {

// Where a family departs from Llama.
struct RopeRules {
  double theta = 10000.0;  // where nothing is said
  const char* theta_key = "rope_theta";
  bool may_be_partial = false;
  double partial = 1.0;  // how much of a head is rotated where nothing is said
  const char* partial_key = "partial_rotary_factor";
  // Phi-3: "su" and "yarn" are old names of longrope, and the original length is not max_positions
  // where nothing is said.
  bool is_phi3 = false;
  std::optional<int64_t> original_max_positions = std::nullopt;
};

// Sets config.rope from `rope_scaling` or `rope_parameters`; the former wins where both are there,
// and a theta inside wins over one outside. Needs head_dim and max_positions. Where dynamic and
// longrope end holding, the context ends: max_positions is cut, and a notice says so.
void read_rope(const JsonFields& json, const RopeRules& rules, DecoderConfig& config);

// Gemma 3: `rope_parameters` by type of layer, or `rope_scaling` of the full layers beside
// `rope_theta` and `rope_local_base_freq`. Sets config.rope and config.local_rope.
void read_rope_by_layer_type(const JsonFields& json, DecoderConfig& config);

}  // namespace leash
