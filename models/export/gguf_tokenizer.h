// A folder's tokenizer as a GGUF's metadata.
#pragma once

#include <filesystem>

#include "models/families/decoder_config.h"
#include "models/io/gguf_writer.h"

namespace leash {

// Sets tokenizer.ggml.* and tokenizer.chat_template from tokenizer.json: byte-level BPE whose
// pre-tokenizer llama.cpp has a name for, and BPE with byte fallback as SentencePiece's (kind
// llama). FormatError for every other tokenizer, naming what is not known.
void set_gguf_tokenizer(const std::filesystem::path& folder, const DecoderConfig& config,
                        GgufWriter& writer);

// FormatError where the tokenizers of two models do not give the same ids for texts of many kinds.
void require_same_ids(const std::filesystem::path& model, const std::filesystem::path& other);

}  // namespace leash
