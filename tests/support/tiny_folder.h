// A tiny random Llama as a Hugging Face folder: bytes as tokens, ChatML's special tokens.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "models/io/safetensors.h"
#include "tests/support/tiny_model.h"

namespace leash::testing {

// 256 bytes and <|endoftext|>, <|im_start|>, <|im_end|> (0, 1, 2; the last ends an answer): byte b
// is token 3 + b.
inline constexpr int64_t kTinyVocabulary = 259;

inline TinyOptions tiny_byte_options() {
  return {.vocab_size = kTinyVocabulary, .max_positions = 128};
}

// Writes config.json, tokenizer.json, tokenizer_config.json and model.safetensors. `change` may
// spoil the tensors before they are written.
void write_tiny_folder(const std::filesystem::path& folder,
                       const TinyOptions& options = tiny_byte_options(),
                       const std::function<void(NamedTensors&)>& change = {});

// An adapter for that model whose B is not zero.
void write_tiny_adapter(const std::filesystem::path& folder, const std::filesystem::path& model,
                        uint64_t seed = 3, double scale = 0.3);

}  // namespace leash::testing
