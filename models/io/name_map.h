// Where a decoder's tensors are in a GGUF: llama.cpp's names, and the order in which it keeps rows.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "models/families/decoder_config.h"
#include "models/families/module_info.h"
#include "models/io/gguf_architecture.h"

namespace leash {

// How llama.cpp's converter orders the rows of a matrix, or the entries of a bias.
enum class RowOrder {
  same,
  // Head by head: entries that are rotated together stand together, (half, 2) in place of (2,
  // half).
  rotated_pairs,
  // All queries, all keys, all values, in place of each key head's queries, key and value.
  stacked
};

struct GgufPlace {
  std::string name;  // "blk.3.attn_q.weight"
  RowOrder order = RowOrder::same;
  int64_t heads = 0;     // rotated_pairs: of this tensor; stacked: of the queries
  int64_t kv_heads = 0;  // stacked only
  double offset = 0;     // added to every value in the GGUF (Gemma's norms: 1)
};

// "blk.3.attn_q" of a module; nullopt where llama.cpp has no tensor for such a module.
std::optional<std::string> gguf_module_name(const ModuleInfo& module, const DecoderConfig& config);

// Every tensor of a decoder by its Hugging Face name ("model.layers.3.self_attn.q_proj.weight").
// FormatError where a module has no name in the architecture.
using GgufPlaces = std::map<std::string, GgufPlace, std::less<>>;
GgufPlaces gguf_places(const DecoderConfig& config, const GgufArchitecture& architecture);

// Rows (any number of bytes or values each) brought from the GGUF's order to Hugging Face's, and
// back. FormatError naming the tensor where they are not as many as the order needs.
at::Tensor from_gguf_order(const at::Tensor& rows, const GgufPlace& place);
at::Tensor to_gguf_order(const at::Tensor& rows, const GgufPlace& place);

}  // namespace leash
