// Byte-pair encoding over characters, with byte tokens for those without one (Llama 2, Gemma), or
// with marks for a word's middle and end (CLIP, OpenAI GPT).
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "models/subwords/merges.h"
#include "models/subwords/token_model.h"

namespace leash {

struct CharacterBpeOptions {
  bool ignore_merges = false;      // a whole word that is a token is one, whatever the merges say
  std::optional<int64_t> unknown;  // without one a character without a token is left out
  bool fuse_unknown = false;       // one unknown token for a run
  bool byte_fallback = false;      // the tokens <0x00> … come before the unknown one
  std::string continuing_prefix;   // in front of every character of a word but the first
  std::string word_suffix;         // behind the last one
  bool whole_line_breaks = false;  // a word of line breaks that is a token is one (Gemma 4)
};

// As Hugging Face's model BPE.
class CharacterBpe final : public TokenModel {
 public:
  // The vocabulary is read while building only. FormatError as Merges.
  CharacterBpe(const Vocabulary& vocabulary, const MergeList& merges, CharacterBpeOptions options);

  std::unique_ptr<ModelScratch> scratch() const override;
  void encode(std::string_view word, ModelScratch* scratch,
              std::vector<int64_t>& ids) const override;

 private:
  struct Scratch;
  struct Unknown {
    const CharacterBpe& model;
    Merges::Symbols& symbols;
    bool pending = false;
    void add();
    void flush();
  };
  void set_symbols(std::string_view word, Merges::Symbols& symbols) const;
  bool add_bytes(std::string_view spelling, Merges::Symbols& symbols) const;
  std::optional<int32_t> find(std::string_view spelling) const;

  Merges merges_;
  CharacterBpeOptions options_;
  std::array<int32_t, 256> byte_tokens_;             // -1: none
  std::unordered_map<std::string, int32_t> tokens_;  // what can be looked for
};

}  // namespace leash
