// config.json for a model that came without one (a GGUF), from its facts.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "models/families/decoder_config.h"

namespace leash {

// In the fields of the family's class in transformers, rotations as versions before 5 wrote them,
// which newer ones read. A fact that it has no field for is left out: whoever writes the file reads
// it back and compares.
nlohmann::ordered_json made_config(const DecoderConfig& config, const std::string& origin);

// `architectures`: of a language model, or of a classifier. FormatError for a family without one.
std::string class_name(const DecoderConfig& config, const std::string& origin);

// null, one id, or a list.
nlohmann::ordered_json token_ids(const std::vector<int64_t>& ids);

}  // namespace leash
