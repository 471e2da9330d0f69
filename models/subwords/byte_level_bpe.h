// Byte-level byte-pair encoding: words of bytes to token ids by ranked merges.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "models/subwords/merges.h"
#include "models/subwords/token_model.h"

namespace leash {

struct ByteLevelBpeOptions {
  bool ignore_merges = false;  // a whole word that is a token is one, whatever the merges say
  // What a byte without a token becomes; without one it is left out, as Hugging Face does.
  std::optional<int64_t> unknown;
  bool fuse_unknown = false;  // one unknown token for a run
};

class ByteLevelBpe final : public TokenModel {
 public:
  // The vocabulary is spelled in GPT-2's alphabet, and read while building only. FormatError when a
  // merge names an unknown token or stands twice.
  ByteLevelBpe(const Vocabulary& vocabulary, const MergeList& merges,
               const ByteLevelBpeOptions& options);

  std::unique_ptr<ModelScratch> scratch() const override;
  // `word` is plain text, not spelled in the alphabet.
  void encode(std::string_view word, ModelScratch* scratch,
              std::vector<int64_t>& ids) const override;

 private:
  struct Scratch;
  struct StringHash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  using WordMap = std::unordered_map<std::string, int32_t, StringHash, std::equal_to<>>;

  void set_whole_words(const Vocabulary& vocabulary, bool ignore_merges);
  void set_symbols(std::string_view word, Merges::Symbols& symbols) const;

  Merges merges_;
  ByteLevelBpeOptions options_;
  std::array<int32_t, 256> byte_tokens_;  // -1: none
  WordMap whole_words_;                   // bytes of words that always become this one token
};

}  // namespace leash
