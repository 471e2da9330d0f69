// SentencePiece's normalisation: its rules for characters, and what becomes of spaces
// (sentencepiece: src/normalizer.cc).
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "models/subwords/token_trie.h"
#include "models/text/charsmap.h"
#include "models/text/normalizer.h"

namespace leash {

struct SentencePieceRules {
  std::shared_ptr<const Charsmap> charsmap;  // may be null
  TokenTrie user_defined;                    // left as they are
  bool add_dummy_prefix = true;              // a space in front of the text,
  bool prefix_every_part = true;  // and in front of each part behind a token that was cut out
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;  // a space is written U+2581
  bool whitespace_as_suffix = false;

  std::string apply(std::string_view text, bool with_prefix) const;
};

Normalizer::Step sentence_piece_step(std::shared_ptr<const SentencePieceRules> rules);

}  // namespace leash
