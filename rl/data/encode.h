// Small things that every reader of training texts needs.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "models/tokenizer/chat_template.h"
#include "models/tokenizer/tokenizer.h"

namespace leash {

// Raw text between the tokenizer's own special tokens. A text that begins with BOS gets no second
// one, which a warning says once a process.
std::vector<int64_t> encode_text(const Tokenizer& tokenizer, std::string_view text);

// Which texts are too long to be worth tokenizing: those of more bytes than `most_tokens` tokens
// can stand for by far (normalisation and the white space that tokens swallow allowed for).
class TextBound {
 public:
  TextBound(const Tokenizer& tokenizer, int64_t most_tokens);
  // FormatError.
  void check(std::string_view text) const;
  // Of all contents together.
  void check(std::span<const ChatMessage> messages) const;

 private:
  void check(size_t bytes) const;

  int64_t most_tokens_;
  size_t most_bytes_;
};

// Length of the prefix that both share.
int64_t common_prefix(const std::vector<int64_t>& a, const std::vector<int64_t>& b);

// Puts the tokenizer's EOS behind the text unless it ends so. WholeFileError where the tokenizer
// names none.
void append_eos(const Tokenizer& tokenizer, std::vector<int64_t>& ids);

}  // namespace leash
