// A Hugging Face folder as a checkpoint.
#pragma once

#include <filesystem>

#include "models/io/checkpoint.h"

namespace leash {

Checkpoint open_hf_checkpoint(const std::filesystem::path& folder);

}  // namespace leash
