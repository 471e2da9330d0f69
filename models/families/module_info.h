// What a decoder consists of, module by module: what an adapter may address.
#pragma once

#include <cstdint>
#include <string>

namespace leash {

enum class ModuleKind { linear, embedding, norm };

// One module of a decoder (or a head on it) that an adapter may address. Its position in the
// decoder's list is its index.
struct ModuleInfo {
  std::string path;  // Hugging Face's module path, e.g. "model.layers.0.self_attn.q_proj"
  ModuleKind kind = ModuleKind::linear;
  int64_t in_features = 0;   // an embedding's number of rows, a norm's width
  int64_t out_features = 0;  // an embedding's width, a norm's width
  bool has_bias = false;
};

}  // namespace leash
