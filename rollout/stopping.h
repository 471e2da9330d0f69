// When an answer ends, and the text that it has then.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/families/decoder_config.h"
#include "models/tokenizer/tokenizer.h"
#include "rollout/engine.h"

namespace leash {

// Looks for stop texts in a text that arrives in pieces. A stop text may span pieces.
class StopTextFinder {
 public:
  explicit StopTextFinder(std::vector<std::string> stop_texts);
  // Whether a stop text ends within this piece; text() then ends before it, at the earliest start
  // of one. Nothing is looked for when not `may_stop`.
  bool push(std::string_view piece, bool may_stop = true);
  const std::string& text() const { return text_; }

 private:
  std::vector<std::string> stop_texts_;
  std::string text_;
};

// Follows one answer token by token.
class StopCheck {
 public:
  // `room`: new tokens that fit into the context, at least 1. Without a tokenizer there is no text.
  StopCheck(const GenerationConfig& config, const Tokenizer* tokenizer, int64_t room);

  // Why the answer ends with this token, if it does. Where several reasons hold, the first of
  // StopReason's order is given.
  std::optional<StopReason> push(int64_t token);
  // The text so far; call it once, at the end. An unfinished character becomes U+FFFD.
  std::string finish();

 private:
  std::optional<StopReason> ends_as_token(int64_t token) const;

  const GenerationConfig* config_;
  const Tokenizer* tokenizer_;
  int64_t room_;
  int64_t num_tokens_ = 0;
  StopTextFinder finder_;
  std::optional<StreamDecoder> stream_;  // nothing once a stop text has cut the text
};

// Tokens that end an answer: not to be drawn before min_new_tokens. A stop text that is one special
// token counts, since special tokens have no text to look for.
std::vector<int64_t> ending_tokens(const GenerationConfig& config, const Tokenizer* tokenizer);

// Tokens that end an answer by themselves: what the checkpoint names and what the tokenizer names.
std::vector<int64_t> eos_token_ids(const DecoderConfig& config, const Tokenizer& tokenizer);

}  // namespace leash
