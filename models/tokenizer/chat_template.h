// Chat messages to the text that a checkpoint was trained on, by its own Jinja template.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "models/jinja/template.h"
#include "models/tokenizer/byte_range.h"
#include "models/tokenizer/tokenizer.h"

namespace leash {

struct ChatMessage {
  std::string role;
  std::string content;  // all text of it
  // The whole message where it has more than these two (tool_calls, a content of several parts);
  // else null.
  nlohmann::ordered_json whole = {};

  // As a template sees it.
  nlohmann::ordered_json json() const;
  // Puts text behind the content.
  void append(const std::string& text);
  bool operator==(const ChatMessage&) const = default;
};

// What a conversation gives a template beside its messages.
struct ChatOptions {
  nlohmann::ordered_json tools = {};   // null: none
  nlohmann::ordered_json kwargs = {};  // null or an object, over the format's own

  bool operator==(const ChatOptions&) const = default;
};

struct RenderedChat {
  std::string text;
  std::vector<ByteRange> foreign;    // what came from messages that were to be marked
  std::vector<ByteRange> generated;  // what stands in {% generation %}
};

enum class SpecialTokensInText {
  keep,      // in messages of users and tools they are text
  recognise  // everywhere as such, as transformers does
};

// Which messages' texts are marked as foreign.
using MarkedMessage = std::function<bool(size_t index, const std::string& role)>;

// A template, compiled once, with what it finds beside a conversation. Errors of the template wait
// until it is used.
class ChatFormat {
 public:
  using NamedTokens = std::vector<std::pair<std::string, std::string>>;
  ChatFormat(const std::string& chat_template, NamedTokens tokens);
  ChatFormat(const std::string& chat_template, NamedTokens tokens, nlohmann::ordered_json kwargs,
             SpecialTokensInText special_tokens);

  // With another template, other kwargs or another rule; what is none stays.
  ChatFormat with(const std::optional<std::string>& chat_template,
                  const nlohmann::ordered_json& kwargs,
                  std::optional<SpecialTokensInText> special_tokens) const;

  // As transformers' apply_chat_template: tools and documents are none where they are not given,
  // keys of messages that are null are left out, thoughts are found under all their names.
  // FormatError; what a template raises is its message.
  RenderedChat render(std::span<const ChatMessage> messages, bool add_generation_prompt,
                      const ChatOptions& options, const MarkedMessage& marked = {}) const;
  // `row` is an object of variables with `messages`; what it has not is undefined.
  RenderedChat render_row(const nlohmann::ordered_json& row,
                          const MarkedMessage& marked = {}) const;

  // FormatError where there is no template, or one that cannot be parsed.
  void check() const;
  SpecialTokensInText special_tokens() const { return special_tokens_; }
  const std::string& source() const { return source_; }
  // What a user and a tool say, where their special tokens are to stay text.
  MarkedMessage users() const;

 private:
  std::string source_;
  NamedTokens tokens_;
  nlohmann::ordered_json kwargs_;
  SpecialTokensInText special_tokens_ = SpecialTokensInText::keep;
  std::optional<jinja::Template> template_;
  std::string error_;  // where there is none
};

// Rendered with the tokenizer's format, users' and tools' words marked as its rule says.
RenderedChat render_chat(const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
                         bool add_generation_prompt, const ChatOptions& options = {});
// Rendered chat gets no further special tokens; those in what is marked stay text.
std::vector<int64_t> encode_rendered(const Tokenizer& tokenizer, const RenderedChat& chat);
std::vector<int64_t> encode_chat(const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
                                 bool add_generation_prompt, const ChatOptions& options = {});

}  // namespace leash
