// What a loader makes of a file, whatever the format: all parts of a Tokenizer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "models/subwords/token_model.h"
#include "models/subwords/vocabulary.h"
#include "models/text/normalizer.h"
#include "models/text/pre_tokenizer.h"
#include "models/text/text_decoder.h"
#include "models/tokenizer/added_tokens.h"

namespace leash {

// The longest known has some 20 KiB; it is read for every conversation.
inline constexpr size_t kMaxTemplateBytes = size_t{1} << 20;

struct TokenizerParts {
  Vocabulary vocabulary;  // with added tokens
  Normalizer normalizer;
  AddedTokenMatcher raw_matcher;         // tokens that are looked for before normalisation,
  AddedTokenMatcher normalized_matcher;  // and after it
  PreTokenizer pre_tokenizer;
  std::unique_ptr<const TokenModel> model;
  TextDecoder decoder;
  std::vector<int64_t> prefix, suffix;  // encode_with_special puts them around
  std::optional<int64_t> bos, eos, pad;
  std::string chat_template;
  // What chat templates find under names such as unk_token, besides bos_token, eos_token and
  // pad_token, which are those above.
  std::vector<std::pair<std::string, std::string>> named_tokens;
};

// Puts added tokens into the vocabulary and the matchers; the normalizer is there already.
// FormatError when one has the id or the spelling of another token.
void set_added_tokens(TokenizerParts& parts, std::vector<AddedToken> added);

// The id, where a token has it; FormatError names `what` otherwise.
int64_t known_id(const TokenizerParts& parts, int64_t id, const std::string& what);

// A folder with tokenizer.json; one with SentencePiece's tokenizer.model; a GGUF file.
TokenizerParts load_tokenizer_json(const std::filesystem::path& folder);
TokenizerParts load_sentence_piece(const std::filesystem::path& folder);
TokenizerParts load_gguf_tokenizer(const std::filesystem::path& file);

}  // namespace leash
