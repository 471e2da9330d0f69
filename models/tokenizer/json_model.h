// The model of tokenizer.json: BPE, Unigram, WordPiece or WordLevel, and its vocabulary.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>

#include "models/subwords/token_model.h"
#include "models/subwords/vocabulary.h"

namespace leash {

struct ReadModel {
  Vocabulary vocabulary;  // without added tokens
  std::unique_ptr<const TokenModel> model;
  bool takes_bytes = false;  // words are plain text, though the vocabulary is spelled in bytes
};

// `bytes`: the pre-tokenizer ends by spelling bytes, which a byte-level BPE does without.
// FormatError names what is not supported.
ReadModel read_json_model(const nlohmann::json& model, bool bytes);

}  // namespace leash
