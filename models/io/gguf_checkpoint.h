// A GGUF file as a checkpoint: Hugging Face's names and row order, configuration from metadata.
#pragma once

#include <filesystem>

#include "models/io/checkpoint.h"

namespace leash {

Checkpoint open_gguf_checkpoint(const std::filesystem::path& file);

}  // namespace leash
