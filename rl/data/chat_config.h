// How conversations become text in a run: the part of `data:` that all tasks share.
#pragma once

#include <filesystem>
#include <optional>
#include <string_view>
#include <utility>

#include "models/fields.h"
#include "models/json_setting.h"
#include "models/tokenizer/chat_template.h"

namespace leash {

template <>
struct EnumNames<SpecialTokensInText> {
  static constexpr std::pair<SpecialTokensInText, std::string_view> values[] = {
      {SpecialTokensInText::keep, "keep"}, {SpecialTokensInText::recognise, "recognise"}};
};

struct ChatConfig {
  std::optional<std::filesystem::path> chat_template = {};
  JsonObject chat_template_kwargs = {};
  SpecialTokensInText special_tokens_in_text = SpecialTokensInText::keep;
};
// Its keys stand beside those of the section that holds it.
template <class Config, class Visitor>
requires Describes<Config, ChatConfig>
void visit_chat_fields(Config& c, Visitor&& visit) {
  visit("chat_template", c.chat_template,
        "a Jinja file in the place of the checkpoint's chat template (null: its own)");
  visit("chat_template_kwargs", c.chat_template_kwargs,
        "what the chat template is given, as {enable_thinking: false}; a record's own "
        "chat_template_kwargs come on top");
  visit("special_tokens_in_text", c.special_tokens_in_text,
        "special tokens inside messages of users and tools: keep them text, or recognise them as "
        "transformers does");
}

// The tokenizer of a model, with the chat format that the settings say. FormatError.
Tokenizer load_chat_tokenizer(const std::filesystem::path& model, const ChatConfig& config);
void set_chat_format(Tokenizer& tokenizer, const ChatConfig& config);
// The format of config.chat_template alone, without a tokenizer.
ChatFormat read_chat_format(const ChatConfig& config, ChatFormat::NamedTokens tokens);

}  // namespace leash
