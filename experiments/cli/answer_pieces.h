// An answer's text piece by piece, while it is drawn.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/tokenizer/tokenizer.h"

namespace leash::cli {

// Text that may turn out to be a prefix of a stop text is held back.
class AnswerPieces {
 public:
  AnswerPieces(const Tokenizer& tokenizer, std::vector<int64_t> eos_token_ids,
               std::vector<std::string> stop_texts);
  // What can be said now that this token was drawn.
  std::string push(int64_t token);
  // What is missing from the complete answer.
  std::string finish(const std::string& text) const;

 private:
  // How many bytes at the end of text_ may belong to a stop text.
  size_t held_back() const;

  StreamDecoder decoder_;
  std::vector<int64_t> eos_token_ids_;
  std::vector<std::string> stop_texts_;
  std::string text_;
  size_t given_ = 0;
};

}  // namespace leash::cli
