// safetensors: an 8-byte little-endian header length, a JSON header, then raw tensors
// (https://huggingface.co/docs/safetensors).
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "models/weights/tensor_source.h"

namespace leash {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

// Opens one file, memory-mapped. The header is checked against the format's rules (offsets in
// range, without overlap or holes, sizes equal to shape times dtype) before anything is read.
std::shared_ptr<const TensorSource> open_safetensors(const std::filesystem::path& file);

// Several shards as one source, as named by model.safetensors.index.json.
std::shared_ptr<const TensorSource> open_sharded_safetensors(const std::filesystem::path& index);

// All tensors of a file in their own dtype, in copies that do not depend on the file.
NamedTensors read_safetensors(const std::filesystem::path& file);
std::map<std::string, std::string> read_safetensors_metadata(const std::filesystem::path& file);

// Writes tensors (any device; made contiguous) in the given order after sorting by dtype size and
// name as the reference implementation does, and flushes to disk. Throws std::system_error on a
// full disk, leaving no half-written `file`.
void write_safetensors(const std::filesystem::path& file, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

}  // namespace leash
