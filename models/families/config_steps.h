// Steps that the readers of config.json share.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "models/families/decoder_config.h"
#include "models/json_fields.h"

namespace leash {

inline constexpr int64_t kMaxLayers = 10'000;

// What a family's class takes where config.json says nothing; 0: the file must say it. Heads of
// keys and their size are derived from the other sizes then.
struct SizeDefaults {
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t max_positions = 2048;
};

// Sizes under the names that Llama's relatives use. A null num_key_value_heads means as many as
// there are heads.
void read_sizes(const JsonFields& json, const SizeDefaults& defaults, DecoderConfig& config);

// head_dim of a family whose heads always share the hidden size. Refuses a head_dim that says
// otherwise, and heads that do not share evenly.
void set_even_heads(const JsonFields& json, DecoderConfig& config);

// Sizes are between 1 and 2^24 (FormatError), so that products of two never overflow.
int64_t required_size(const JsonFields& json, const char* key);
int64_t size_or(const JsonFields& json, const char* key, int64_t otherwise);
// The first of two spellings that is there; both must agree. FormatError when neither is and
// nothing is assumed (0).
int64_t spelled_size(const JsonFields& json, const char* name, const char* other,
                     int64_t otherwise = 0);

Activation activation(const JsonFields& json, const char* key, const char* otherwise);

// FormatError when the flag, if it is there, has another value.
void require_flag(const JsonFields& json, const char* key, bool value);

// Of each layer whether `layer_types` calls it sliding; nullopt where it is not written.
std::optional<std::vector<bool>> sliding_layers(const JsonFields& json, int64_t num_layers);

// For families that have no layers of types: what layer_types says must be true of them.
void require_layers(const JsonFields& json, int64_t num_layers, bool sliding);

// Windows of the sliding layers; one as wide as the context is none. FormatError when there is a
// sliding layer and no window.
void set_windows(const JsonFields& json, const std::vector<bool>& sliding,
                 std::optional<int64_t> window, DecoderConfig& config);

// All layers that config.layers does not yet list.
std::vector<LayerFacts>& listed_layers(DecoderConfig& config);

}  // namespace leash
