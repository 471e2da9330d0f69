// How prompts and their answers become tokens where answers are judged.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "models/tokenizer/chat_template.h"
#include "models/tokenizer/tokenizer.h"
#include "rl/data/text_ending.h"

namespace leash {

class AnswerEncoder {
 public:
  // `tokenizer` outlives it.
  AnswerEncoder(const Tokenizer& tokenizer, const TextEnding& ending)
      : tokenizer_(tokenizer), ending_(ending) {}

  // A prompt and its answer as one text, with its ending. FormatError where nothing is left.
  std::vector<int64_t> whole(const std::string& text) const;
  // A conversation whose messages from `first_answer` on are the answer, which `display` gets as
  // text; `name` is its key. FormatError where it does not end with the assistant.
  std::vector<int64_t> whole(std::span<const ChatMessage> messages, size_t first_answer,
                             const char* name, const ChatOptions& options,
                             std::string& display) const;

  // The prompt alone, as it stands before the policy answers; empty for no messages.
  std::vector<int64_t> prompt(const std::string& text) const;
  std::vector<int64_t> prompt(std::span<const ChatMessage> messages,
                              const ChatOptions& options) const;

 private:
  const Tokenizer& tokenizer_;
  TextEnding ending_;
};

// Prompts of conversations that are equal have equal keys; `display` gets the last thing that the
// user said.
std::string conversation_key(std::span<const ChatMessage> prompt, std::string& display);

// A record's true or false; absent and null are false. FormatError.
bool flag_of(const nlohmann::ordered_json& record, const char* key);

// What judgements may say besides that nobody here reads.
inline constexpr const char* kAboutJudgements[] = {"judgement", "who",   "when",    "comment",
                                                   "seed",      "seeds", "adapter", "adapters"};

}  // namespace leash
