// An adapter as llama.cpp's LoRA file: a GGUF of the type adapter (llama.cpp's
// convert_lora_to_gguf.py and src/llama-adapter.cpp).
#pragma once

#include <filesystem>

#include "models/io/checkpoint.h"
#include "models/lora/lora.h"
#include "models/weights/block_type.h"

namespace leash {

// llama.cpp computes W x + (alpha / r) B A x with one alpha and the rank of each pair of tensors.
// The rank-stabilised scale becomes part of alpha, other alphas of single modules part of their B;
// rows of B get the order of the base's GGUF. FormatError naming the module for what there is no
// place for: trained copies, biases, a score head, an embedding or a head whose weight is shared.
void write_gguf_adapter(const std::filesystem::path& file, const Checkpoint& base,
                        const Adapter& adapter, BlockType type);

// Such a file read back, as an adapter with the configuration and modules of `like`. FormatError
// when it is no adapter for this base.
Adapter read_gguf_adapter(const std::filesystem::path& file, const Checkpoint& base,
                          const Adapter& like);

}  // namespace leash
