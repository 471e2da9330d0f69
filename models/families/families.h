// The families of decoders that are known, as a table, and config.json mapped through it. A new
// family is a new row with its reader (family_readers.h) and, where it needs one, a new fact.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "models/families/decoder_config.h"

namespace leash {

class JsonFields;

struct Family {
  std::string_view model_type;              // in config.json
  std::string_view gguf_architecture = "";  // in a GGUF's metadata; empty: read by no row
  bool gguf_permutes_qk = false;            // GGUF stores the rows of q and k in another order
  void (*read)(const JsonFields& json, DecoderConfig& config) = nullptr;
  // What transformers assumes where config.json says nothing.
  std::optional<int64_t> bos_token_id = std::nullopt;
  std::optional<int64_t> eos_token_id = std::nullopt;
  std::optional<int64_t> pad_token_id = std::nullopt;
  bool tie_word_embeddings = false;
  // Ends of names of tensors that change no number, so that the decoder leaves them out: buffers
  // that are computed anew, and a value head that somebody trained beside the model.
  std::span<const std::string_view> left_out = {};
  // Beginnings of names of tensors that text alone never meets (Gemma 3's eyes).
  std::span<const std::string_view> left_out_under = {};
};

std::span<const Family> families();
// FormatError, listing what is known, when there is no such row; mixtures of experts are named as
// such.
const Family& family_of_model_type(std::string_view model_type, const std::string& origin);
const Family& family_of_gguf(std::string_view architecture, const std::string& origin);
// Family::left_out and Family::left_out_under; empty for a model_type without a row.
std::span<const std::string_view> left_out_by(std::string_view model_type);
std::span<const std::string_view> left_out_under_by(std::string_view model_type);

// `origin` names the file in messages. FormatError when something is missing or wrong, or when a
// field that changes the computation has a value that is not supported. Fields that transformers
// ignores are ignored, and named in a notice unless they are known to be harmless.
DecoderConfig config_from_json(const nlohmann::json& config, const std::string& origin);
// generation_config.json decides which tokens end an answer, as in transformers, and fills in other
// ids that config.json lacks.
void apply_generation_config(const nlohmann::json& generation, const std::string& origin,
                             DecoderConfig& config);

}  // namespace leash
