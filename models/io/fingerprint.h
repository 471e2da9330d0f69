// Whether two files or checkpoints are most likely the same, without reading all of them.
#pragma once

#include <filesystem>
#include <string>

namespace leash {

// A few words on what a checkpoint (a GGUF file, or a folder's weights, configurations and
// tokenizer) holds: sizes, and a CRC-32C over blocks of 64 KiB at even distances, at most 64 of
// each file. Two checkpoints of one training differ in nearly every block; a change of single bytes
// may go unnoticed. FormatError when a file cannot be read.
std::string fingerprint(const std::filesystem::path& checkpoint);
// The same of an adapter's folder: adapter_model.safetensors and adapter_config.json.
std::string adapter_fingerprint(const std::filesystem::path& folder);

}  // namespace leash
