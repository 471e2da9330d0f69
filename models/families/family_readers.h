// How each model_type's config.json becomes facts. A reader sets what depends on the family; the
// vocabulary's ids, the labels and what all families share are config_from_json's (families.h).
// FormatError when something is missing or wrong, or changes the computation and is not supported.
#pragma once

#include "models/families/decoder_config.h"
#include "models/json_fields.h"

namespace leash {

void read_llama(const JsonFields& json, DecoderConfig& config);
void read_smollm3(const JsonFields& json, DecoderConfig& config);
void read_mistral(const JsonFields& json, DecoderConfig& config);
void read_qwen2(const JsonFields& json, DecoderConfig& config);
void read_qwen3(const JsonFields& json, DecoderConfig& config);
void read_olmo2(const JsonFields& json, DecoderConfig& config);
void read_granite(const JsonFields& json, DecoderConfig& config);

void read_gemma(const JsonFields& json, DecoderConfig& config);
void read_gemma2(const JsonFields& json, DecoderConfig& config);
void read_gemma3_text(const JsonFields& json, DecoderConfig& config);

void read_phi(const JsonFields& json, DecoderConfig& config);
void read_phi3(const JsonFields& json, DecoderConfig& config);

void read_gpt2(const JsonFields& json, DecoderConfig& config);
void read_gpt_neox(const JsonFields& json, DecoderConfig& config);
void read_opt(const JsonFields& json, DecoderConfig& config);
void read_falcon(const JsonFields& json, DecoderConfig& config);
void read_bloom(const JsonFields& json, DecoderConfig& config);

}  // namespace leash
