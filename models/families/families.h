// The families of decoders that are known, as a table of facts, and config.json mapped through it.
// A new family is a new row (and, where it needs one, a new fact).
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "models/families/decoder_config.h"

namespace leash {

// When `sliding_window` narrows the attention.
enum class WindowRule { never, always, when_switched_on };

struct Family {
  std::string_view model_type;         // in config.json
  std::string_view gguf_architecture;  // in a GGUF's metadata; empty where another row covers it
  bool gguf_permutes_qk;               // GGUF stores the rows of q and k in another order
  bool qkv_bias;                       // always there
  bool biases_are_options;             // `attention_bias` and `mlp_bias` are read
  WindowRule window;
  // What transformers assumes where config.json says nothing.
  int64_t kv_heads;  // 0: as many as there are heads
  int64_t max_positions;
  std::optional<int64_t> bos_token_id;
  std::optional<int64_t> eos_token_id;
  // Ends of names of tensors that change no number, so that the decoder leaves them out: buffers
  // that are computed anew, and a value head that somebody trained beside the model.
  std::span<const std::string_view> left_out;
};

std::span<const Family> families();
// FormatError, listing what is known, when there is no such row.
const Family& family_of_model_type(std::string_view model_type, const std::string& origin);
const Family& family_of_gguf(std::string_view architecture, const std::string& origin);
// Family::left_out; empty for a model_type without a row.
std::span<const std::string_view> left_out_by(std::string_view model_type);

// `origin` names the file in messages. FormatError when something is missing or wrong, or when a
// field that changes the computation has a value that is not supported.
DecoderConfig config_from_json(const nlohmann::json& config, const std::string& origin);
// generation_config.json decides which tokens end an answer, as in transformers, and fills in other
// ids that config.json lacks.
void apply_generation_config(const nlohmann::json& generation, const std::string& origin,
                             DecoderConfig& config);

}  // namespace leash
