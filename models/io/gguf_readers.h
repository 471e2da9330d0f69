// What each architecture of llama.cpp computes, as facts: the metadata that belongs to it alone,
// and what its graph does without saying so (llama.cpp's src/models/*.cpp). Sizes, biases, token
// ids and the rotation are read before (config_from_gguf).
#pragma once

#include "models/families/decoder_config.h"
#include "models/io/gguf_metadata.h"

namespace leash {

void read_gguf_llama(const GgufMetadata& metadata, DecoderConfig& config);
void read_gguf_smollm3(const GgufMetadata& metadata, DecoderConfig& config);
void read_gguf_qwen3(const GgufMetadata& metadata, DecoderConfig& config);
void read_gguf_olmo2(const GgufMetadata& metadata, DecoderConfig& config);
void read_gguf_granite(const GgufMetadata& metadata, DecoderConfig& config);
void read_gguf_gemma(const GgufMetadata& metadata, DecoderConfig& config);
void read_gguf_gemma2(const GgufMetadata& metadata, DecoderConfig& config);
void read_gguf_gemma3(const GgufMetadata& metadata, DecoderConfig& config);
void read_gguf_phi2(const GgufMetadata& metadata, DecoderConfig& config);
void read_gguf_phi3(const GgufMetadata& metadata, DecoderConfig& config);
void read_gguf_gpt2(const GgufMetadata& metadata, DecoderConfig& config);
void read_gguf_gptneox(const GgufMetadata& metadata, DecoderConfig& config);
void read_gguf_falcon(const GgufMetadata& metadata, DecoderConfig& config);
void read_gguf_bloom(const GgufMetadata& metadata, DecoderConfig& config);

}  // namespace leash
