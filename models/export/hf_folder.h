// A checkpoint as the folder that transformers, vLLM and llama.cpp's converter read.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "models/io/checkpoint.h"

namespace leash {

inline constexpr int64_t kMaxShardBytes = 5'000'000'000;  // transformers' own before it wrote more

// Writes config.json, generation_config.json, the weights in `dtype` (one file, or shards of at
// most `max_shard_bytes` with their index), and the tokenizer with its chat template: the base's
// own files where it is a folder, else made of what the GGUF says. The folder must not exist.
// FormatError where something of the base cannot be said in these files.
void write_hf_folder(const std::filesystem::path& folder, const Checkpoint& checkpoint,
                     at::ScalarType dtype, int64_t max_shard_bytes = kMaxShardBytes);

// Puts the names of a sequence classifier's classes into the folder's config.json.
void set_class_names(const std::filesystem::path& folder, const std::vector<std::string>& names);

}  // namespace leash
