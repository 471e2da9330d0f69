#include "models/tokenizer/chat_template.h"

#include <fmt/core.h>

#include <algorithm>

#include "models/errors.h"
#include "models/jinja/json_value.h"
#include "models/jinja/runtime.h"

namespace leash {
namespace {

using OrderedJson = nlohmann::ordered_json;
using jinja::Origin;
using jinja::Value;

// Names under which thoughts are passed; templates read the first, gpt-oss's the second.
constexpr const char* kThoughts[] = {"reasoning_content", "thinking", "reasoning"};

OrderedJson with_thoughts(const OrderedJson& message) {
  const OrderedJson* thought = nullptr;
  for (const char* name : kThoughts) {
    const auto found = message.find(name);
    if (thought == nullptr && found != message.end() && !found->is_null()) thought = &*found;
  }
  if (thought == nullptr) return message;
  OrderedJson result = {{"thinking", *thought}};
  for (const auto& [key, value] : message.items()) result[key] = value;
  result["reasoning_content"] = *thought;
  return result;
}

OrderedJson without_nulls(const OrderedJson& message) {
  OrderedJson result = OrderedJson::object();
  for (const auto& [key, value] : message.items()) {
    if (!value.is_null()) result[key] = value;
  }
  return result;
}

// A role is the template's word, not the user's: some make a token of it.
Value message_value(jinja::Runtime& runtime, const OrderedJson& message, Origin origin) {
  if (!message.is_object()) return jinja::from_json(message, origin);
  std::vector<std::pair<Value, Value>> entries;
  for (const auto& [key, value] : message.items()) {
    entries.emplace_back(Value(key), jinja::from_json(value, key == "role" ? Origin::own : origin));
  }
  return jinja::make_dict(runtime, std::move(entries));
}

Value messages_value(const OrderedJson& messages, const MarkedMessage& marked) {
  if (!messages.is_array()) return jinja::from_json(messages, Origin::own);
  jinja::Runtime runtime;
  std::vector<Value> values;
  for (size_t i = 0; i < messages.size(); ++i) {
    std::string role;
    if (messages[i].is_object()) {
      const auto found = messages[i].find("role");
      if (found != messages[i].end() && found->is_string()) role = found->get<std::string>();
    }
    const bool foreign = marked && marked(i, role);
    values.push_back(message_value(runtime, messages[i], foreign ? Origin::foreign : Origin::own));
  }
  return jinja::make_list(runtime, std::move(values));
}

void append_to(OrderedJson& content, const std::string& text) {
  if (content.is_string()) {
    content = content.get<std::string>() + text;
    return;
  }
  if (content.is_array()) {
    for (size_t i = content.size(); i-- > 0;) {
      const auto part = content[i].is_object() ? content[i].find("text") : content[i].end();
      if (!content[i].is_object() || part == content[i].end() || !part->is_string()) continue;
      *part = part->get<std::string>() + text;
      return;
    }
    content.push_back({{"type", "text"}, {"text", text}});
    return;
  }
  content = text;
}

std::vector<ByteRange> byte_ranges(const std::vector<jinja::TextRange>& ranges) {
  std::vector<ByteRange> result;
  for (const jinja::TextRange& range : ranges) result.push_back({range.begin, range.end});
  return result;
}

}  // namespace

OrderedJson ChatMessage::json() const {
  if (!whole.is_null()) return whole;
  return {{"role", role}, {"content", content}};
}

void ChatMessage::append(const std::string& text) {
  content += text;
  if (!whole.is_null()) append_to(whole["content"], text);
}

ChatFormat::ChatFormat(const std::string& chat_template, NamedTokens tokens)
    : ChatFormat(chat_template, std::move(tokens), {}, SpecialTokensInText::keep) {}

ChatFormat::ChatFormat(const std::string& chat_template, NamedTokens tokens, OrderedJson kwargs,
                       SpecialTokensInText special_tokens)
    : source_(chat_template),
      tokens_(std::move(tokens)),
      kwargs_(std::move(kwargs)),
      special_tokens_(special_tokens) {
  if (chat_template.empty()) {
    error_ = "the model has no chat template; give it plain prompts";
    return;
  }
  try {
    template_.emplace(chat_template);
  } catch (const jinja::TemplateError& error) {
    error_ = error.what();
  }
}

ChatFormat ChatFormat::with(const std::optional<std::string>& chat_template,
                            const OrderedJson& kwargs,
                            std::optional<SpecialTokensInText> special_tokens) const {
  return {chat_template.value_or(source_), tokens_, kwargs.is_null() ? kwargs_ : kwargs,
          special_tokens.value_or(special_tokens_)};
}

RenderedChat ChatFormat::render(std::span<const ChatMessage> messages, bool add_generation_prompt,
                                const ChatOptions& options, const MarkedMessage& marked) const {
  OrderedJson row = {{"messages", OrderedJson::array()},
                     {"tools", options.tools},
                     {"documents", nullptr},
                     {"add_generation_prompt", add_generation_prompt}};
  for (const ChatMessage& message : messages) {
    row["messages"].push_back(with_thoughts(without_nulls(message.json())));
  }
  for (const OrderedJson* kwargs : {&kwargs_, &options.kwargs}) {
    if (!kwargs->is_object()) continue;
    for (const auto& [key, value] : kwargs->items()) {
      if (key == "messages") throw FormatError("chat_template_kwargs cannot set `messages`");
      row[key] = value;
    }
  }
  return render_row(row, marked);
}

RenderedChat ChatFormat::render_row(const OrderedJson& row, const MarkedMessage& marked) const {
  check();
  std::map<std::string, Value> values;
  for (const auto& [name, text] : tokens_) values[name] = Value(text);
  for (const auto& [name, value] : row.items()) {
    values[name] =
        name == "messages" ? messages_value(value, marked) : jinja::from_json(value, Origin::own);
  }
  jinja::Rendered rendered = template_->render([&](const std::string& name) {
    const auto found = values.find(name);
    return found == values.end() ? Value() : found->second;
  });
  return {.text = std::move(rendered.text),
          .foreign = byte_ranges(rendered.foreign),
          .generated = byte_ranges(rendered.generated)};
}

void ChatFormat::check() const {
  if (!template_) throw FormatError(error_);
}

MarkedMessage ChatFormat::users() const {
  if (special_tokens_ == SpecialTokensInText::recognise) return {};
  return [](size_t, const std::string& role) { return role == "user" || role == "tool"; };
}

RenderedChat render_chat(const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
                         bool add_generation_prompt, const ChatOptions& options) {
  const ChatFormat& format = tokenizer.chat();
  return format.render(messages, add_generation_prompt, options, format.users());
}

std::vector<int64_t> encode_rendered(const Tokenizer& tokenizer, const RenderedChat& chat) {
  return tokenizer.encode(chat.text, chat.foreign);
}

std::vector<int64_t> encode_chat(const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
                                 bool add_generation_prompt, const ChatOptions& options) {
  return encode_rendered(tokenizer,
                         render_chat(tokenizer, messages, add_generation_prompt, options));
}

}  // namespace leash
