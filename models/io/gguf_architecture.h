// The architectures of llama.cpp that are read and written, as a table: which family's graph each
// has, and how its tensors lie (llama.cpp's conversion/*.py and src/models/*.cpp).
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "models/families/decoder_config.h"

namespace leash {

class GgufMetadata;

// Whether llama.cpp's graph has a linear layer's bias.
enum class GgufBias { never, optional, always };

struct GgufArchitecture {
  std::string_view name;        // general.architecture
  std::string_view model_type;  // of the family that it is read as
  void (*read)(const GgufMetadata& metadata, DecoderConfig& config) = nullptr;
  // q and k have the rows of a head in pairs that are rotated together: (half, 2) where Hugging
  // Face has (2, half).
  bool pairs_rotated_rows = false;
  GgufBias qkv_bias = GgufBias::never;
  GgufBias output_bias = GgufBias::never;
  GgufBias mlp_bias = GgufBias::never;
};

std::span<const GgufArchitecture> gguf_architectures();

// FormatError, listing what is known, when there is no such row.
const GgufArchitecture& gguf_architecture(std::string_view name, const std::string& origin);

// The architecture that a model is written as (Mistral as llama). FormatError where llama.cpp has
// none for the family, or leaves out one of the model's biases.
const GgufArchitecture& gguf_architecture_for(const DecoderConfig& config,
                                              const std::string& origin);

}  // namespace leash
