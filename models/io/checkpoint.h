// A model on disk, opened: its facts and its tensors under Hugging Face names.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "models/families/decoder_config.h"
#include "models/weights/tensor_source.h"

namespace leash {

struct Checkpoint {
  std::filesystem::path path;  // the GGUF file (of a split one a part) or the folder
  DecoderConfig config;
  // Names as in LlamaForCausalLM's state_dict ("model.layers.0.self_attn.q_proj.weight"), q and k
  // in Hugging Face's row order (a GGUF's permutation is undone).
  std::shared_ptr<const TensorSource> tensors;
};

// What the user wrote for a model: `smollm2` (the one that set-up put into LEASH_CACHE), a GGUF
// file (of a split one any part), a Hugging Face folder, a folder with one GGUF, or, where there is
// no such path, `org/name` or `org/name@revision` in Hugging Face's cache. Returns an existing
// path; FormatError says what was looked for and which command fetches it.
std::filesystem::path resolve_model(const std::string& model);

// Opens a GGUF file or a folder with config.json and safetensors (one file, or sharded with
// model.safetensors.index.json). Headers are verified here; weights are read when asked for.
Checkpoint open_checkpoint(const std::filesystem::path& path);

}  // namespace leash
