// Byte-level byte-pair encoding: words of bytes to token ids by ranked merges.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "models/tokenizer/pre_tokenizer.h"
#include "models/tokenizer/token_model.h"

namespace leash {

// GPT-2's alphabet: every byte has one printable character, in which vocabularies are written.
const std::array<std::string, 256>& byte_characters();
// The bytes that a vocabulary's spelling stands for; nullopt when a character is not in the
// alphabet.
std::optional<std::string> spelled_bytes(std::string_view spelling);

struct BpeSource {
  // Spellings by id; empty where an id is not used. Ids fit into an int32_t.
  std::vector<std::string> vocabulary;
  // Spellings of left and right, best first.
  std::vector<std::pair<std::string, std::string>> merges;
  bool ignore_merges = false;  // a whole word that is a token is one, whatever the merges say
  // What a byte without a token becomes; without one it is left out, as Hugging Face does.
  std::optional<std::string> unknown_token;
  bool fuse_unknown = false;  // one unknown token for a run
  PreTokenizer pre_tokenizer;
};

class ByteLevelBpe final : public TokenModel {
 public:
  // FormatError when a merge names an unknown token or stands twice, or when the vocabulary lacks
  // bytes that ordinary text needs.
  explicit ByteLevelBpe(BpeSource source);

  void encode(std::string_view text, std::vector<int64_t>& ids) const override;

 private:
  struct Merge {
    int32_t rank = 0;
    int32_t result = 0;
  };
  struct StringHash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  using WordMap = std::unordered_map<std::string, int32_t, StringHash, std::equal_to<>>;
  struct Scratch;

  void set_byte_tokens(const WordMap& spelled);
  void set_merges(const BpeSource& source, const WordMap& spelled);
  void set_whole_words(const BpeSource& source);
  const Merge* find_merge(int32_t left, int32_t right) const;
  void start_symbols(std::string_view word, Scratch& scratch) const;
  void merge_symbols(Scratch& scratch) const;
  void encode_word(std::string_view word, Scratch& scratch, std::vector<int64_t>& ids) const;

  std::array<int32_t, 256> byte_tokens_;        // -1: none
  std::unordered_map<uint64_t, Merge> merges_;  // by left << 32 | right
  WordMap whole_words_;                         // bytes of words that always become this one token
  int32_t unknown_ = -1;
  bool fuse_unknown_ = false;
  PreTokenizer pre_tokenizer_;
};

}  // namespace leash
