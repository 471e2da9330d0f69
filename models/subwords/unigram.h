// The unigram language model (Kudo, 2018): the segmentation of a word with the best sum of scores.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "models/subwords/token_model.h"
#include "models/subwords/token_trie.h"

namespace leash {

struct UnigramToken {
  std::string spelling;
  double score = 0;
  int64_t id = 0;
  bool findable = true;       // false: control, unknown and byte tokens, which no text becomes
  bool user_defined = false;  // chosen wherever it stands (SentencePiece)
};

// Both give the same ids but where sums of scores come so close that their rounding decides, and
// where the text spells a token that SentencePiece does not find.
enum class UnigramArithmetic {
  hugging_face,   // sums in double; each token may be found
  sentence_piece  // sums in float, and user-defined tokens get a bonus
};

struct UnigramOptions {
  std::optional<int64_t> unknown;  // FormatError on unknown text where there is none
  bool byte_fallback = false;      // the tokens <0x00> … come in the place of unknown characters
  UnigramArithmetic arithmetic = UnigramArithmetic::hugging_face;
};

class Unigram final : public TokenModel {
 public:
  // The tokens are read while building only. FormatError when a score is no finite number.
  Unigram(const std::vector<UnigramToken>& tokens, const UnigramOptions& options);

  std::unique_ptr<ModelScratch> scratch() const override;
  void encode(std::string_view word, ModelScratch* scratch,
              std::vector<int64_t>& ids) const override;

 private:
  struct Node;
  struct Scratch;
  struct Entry {
    double score = 0;
    int32_t id = 0;
    bool user_defined = false;
  };

  void find_path(std::string_view word, std::vector<Node>& best) const;
  void consider(std::string_view word, size_t begin, std::vector<Node>& best) const;
  void reset_sums(size_t begin, std::vector<Node>& best) const;
  double sum(double score, double so_far) const;
  // What `text` without a token becomes.
  void append_unknown(std::string_view text, std::vector<int64_t>& ids) const;
  std::optional<int32_t> exactly(std::string_view text) const;
  bool sums_in_float() const { return options_.arithmetic == UnigramArithmetic::sentence_piece; }

  std::vector<Entry> entries_;  // what the trie's values are indices into
  TokenTrie trie_;
  double unknown_score_ = 0;
  std::array<int32_t, 256> byte_tokens_;  // -1: none
  UnigramOptions options_;
};

}  // namespace leash
