// What a loader makes of a file, whatever the format: all parts of a Tokenizer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "models/tokenizer/added_tokens.h"
#include "models/tokenizer/token_model.h"

namespace leash {

// More than any vocabulary has; a file that claims more is damaged.
inline constexpr int64_t kMaxVocabulary = int64_t{1} << 22;
// The longest known has some 20 KiB; it is read for every conversation.
inline constexpr size_t kMaxTemplateBytes = size_t{1} << 20;

struct TokenEntry {
  std::string spelling;  // as in the file; empty where the id is not used
  std::string bytes;     // what it adds to a text
  bool special = false;
};

struct TokenizerParts {
  std::vector<TokenEntry> tokens;  // by id
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  std::unordered_map<std::string, int64_t, Hash, std::equal_to<>> ids;  // by spelling
  bool nfc = false;
  AddedTokenMatcher raw_matcher;         // tokens that are looked for before normalisation,
  AddedTokenMatcher normalized_matcher;  // and after it
  std::unique_ptr<const TokenModel> model;
  std::vector<int64_t> prefix, suffix;  // encode_with_special puts them around
  std::optional<int64_t> bos, eos, pad;
  std::string chat_template;
};

// Fills tokens, ids and the matchers. FormatError when a spelling stands twice.
void set_tokens(TokenizerParts& parts, const std::vector<std::string>& vocabulary,
                std::vector<AddedToken> added);

// A folder with tokenizer.json; a GGUF file.
TokenizerParts load_tokenizer_json(const std::filesystem::path& folder);
TokenizerParts load_gguf_tokenizer(const std::filesystem::path& file);

}  // namespace leash
