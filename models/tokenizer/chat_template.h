// Chat messages to the text that a checkpoint was trained on.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "models/tokenizer/tokenizer.h"

namespace leash {

struct ChatMessage {
  std::string role;  // system | user | assistant
  std::string content;

  bool operator==(const ChatMessage&) const = default;
};

// The rendered text. A template is recognised by its exact text (ChatML, SmolLM2's with its default
// system message, …); FormatError names any other, since a template that is nearly right gives
// silently wrong prompts.
std::string render_chat(const std::string& chat_template, std::span<const ChatMessage> messages,
                        bool add_generation_prompt);

// Rendered and encoded; rendered chat gets no further special tokens.
std::vector<int64_t> encode_chat(const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
                                 bool add_generation_prompt);

}  // namespace leash
