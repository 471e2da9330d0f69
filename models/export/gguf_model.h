// A checkpoint as a GGUF that llama.cpp loads.
#pragma once

#include <cstdint>
#include <filesystem>

#include "models/io/checkpoint.h"
#include "models/weights/block_type.h"

namespace leash {

// Writes one file. Matrices get `type` (f32, f16, bf16 or q8_0; q8_0 falls back to f16 where a row
// is no whole number of blocks, as in llama.cpp's converter), norms, biases and learned positions
// f32. Metadata and vocabulary are those of the base's GGUF, else made of its folder. FormatError
// where the family, a fact or the tokenizer cannot be said in a GGUF.
void write_gguf_model(const std::filesystem::path& file, const Checkpoint& checkpoint,
                      BlockType type);

}  // namespace leash
