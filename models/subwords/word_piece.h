// WordPiece (the longest token that a word begins with, again and again), and whole words.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "models/subwords/token_model.h"
#include "models/subwords/token_trie.h"
#include "models/subwords/vocabulary.h"

namespace leash {

struct WordPieceOptions {
  int64_t unknown = 0;            // a word that does not come out even is this one token
  std::string continuing = "##";  // what tokens inside a word are spelled with
  size_t max_characters = 100;    // longer words are unknown
};

class WordPiece final : public TokenModel {
 public:
  // The vocabulary is read while building only.
  WordPiece(const Vocabulary& vocabulary, const WordPieceOptions& options);

  void encode(std::string_view word, ModelScratch* scratch,
              std::vector<int64_t>& ids) const override;

 private:
  TokenTrie first_, continuing_;
  int64_t unknown_;
  size_t max_characters_;
};

// A word is a token, or unknown.
class WordLevel final : public TokenModel {
 public:
  // `unknown`: FormatError on a word without a token where there is none.
  WordLevel(const Vocabulary& vocabulary, std::optional<int64_t> unknown);

  void encode(std::string_view word, ModelScratch* scratch,
              std::vector<int64_t>& ids) const override;

 private:
  std::unordered_map<std::string, int64_t> words_;
  std::optional<int64_t> unknown_;
};

}  // namespace leash
