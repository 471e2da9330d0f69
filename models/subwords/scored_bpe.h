// SentencePiece's byte-pair encoding: of the neighbours that together are a token, those with the
// best score become it first (sentencepiece: src/bpe_model.cc).
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "models/subwords/token_model.h"
#include "models/subwords/token_trie.h"

namespace leash {

struct ScoredPiece {
  enum class Kind { normal, user_defined, unused, byte, other };  // other: control and unknown
  std::string spelling;
  float score = 0;
  int64_t id = 0;
  Kind kind = Kind::normal;
};

class ScoredBpe final : public TokenModel {
 public:
  // The tokens are read while building only. `unknown` is what a character without a token becomes
  // when there are no byte tokens; without it such a character is an error.
  ScoredBpe(const std::vector<ScoredPiece>& tokens, std::optional<int64_t> unknown,
            bool byte_fallback);

  std::unique_ptr<ModelScratch> scratch() const override;
  void encode(std::string_view word, ModelScratch* scratch,
              std::vector<int64_t>& ids) const override;

 private:
  struct Scratch;
  struct Piece {
    float score = 0;
    int32_t id = 0;
    bool unused = false;  // merges pass through it, but it is taken apart again
  };

  const Piece* find(std::string_view spelling) const;
  void set_symbols(std::string_view word, Scratch& scratch) const;
  void consider(Scratch& scratch, int64_t left) const;
  void merge(Scratch& scratch) const;
  void append(std::string_view piece, const Scratch& scratch, std::vector<int64_t>& ids) const;
  void append_unknown(std::string_view piece, std::vector<int64_t>& ids) const;

  std::vector<std::string> spellings_;
  std::unordered_map<std::string_view, Piece> pieces_;  // views of spellings_
  size_t longest_ = 0;
  TokenTrie user_defined_;
  std::optional<int64_t> unknown_;
  bool byte_fallback_;
  std::array<int32_t, 256> byte_tokens_;  // -1: none
};

}  // namespace leash
