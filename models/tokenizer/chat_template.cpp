// The chat templates that are known by their exact text, and what they render.
#include "models/tokenizer/chat_template.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include "models/errors.h"

namespace leash {
namespace {

// ChatML's message and generation prompt, as most checkpoints spell them.
#define LEASH_CHATML_MESSAGE \
  "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
#define LEASH_CHATML_PROMPT \
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
#define LEASH_DEFAULT_SYSTEM(text)                                                       \
  "{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n" text \
  "<|im_end|>\n' }}{% endif %}"

constexpr std::string_view kSmolLm2System =
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face";
constexpr std::string_view kQwen2System = "You are a helpful assistant.";

struct KnownTemplate {
  std::string_view text;
  std::string_view default_system;  // empty: none is put in
};

constexpr KnownTemplate kKnownTemplates[] = {
    // Plain ChatML.
    {"{% for message in messages %}" LEASH_CHATML_MESSAGE "{% endfor %}" LEASH_CHATML_PROMPT, ""},
    {"{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}"
     "{% endif %}{% for message in messages %}" LEASH_CHATML_MESSAGE
     "{% endfor %}" LEASH_CHATML_PROMPT,
     ""},
    {"{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + "
     "message['content'] + '<|im_end|>' + '\n' }}{% endfor %}" LEASH_CHATML_PROMPT,
     ""},
    {"{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + "
     "message['content'] + '<|im_end|>\n'}}{% endfor %}" LEASH_CHATML_PROMPT,
     ""},
    // SmolLM2-Instruct.
    {"{% for message in messages %}" LEASH_DEFAULT_SYSTEM(
         "You are a helpful AI assistant named SmolLM, trained by Hugging Face")
         LEASH_CHATML_MESSAGE "{% endfor %}" LEASH_CHATML_PROMPT,
     kSmolLm2System},
    // Qwen2-Instruct.
    {"{% for message in messages %}" LEASH_DEFAULT_SYSTEM("You are a helpful assistant.")
         LEASH_CHATML_MESSAGE "{% endfor %}" LEASH_CHATML_PROMPT,
     kQwen2System},
};
#undef LEASH_CHATML_MESSAGE
#undef LEASH_CHATML_PROMPT
#undef LEASH_DEFAULT_SYSTEM

// Inside these templates \n only stands in string literals, where a line break means the same;
// Jinja drops one line break at the end.
std::string canonical(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool escape = text.substr(i).starts_with("\\n");
    result += escape ? '\n' : text[i];
    if (escape) ++i;
  }
  if (result.ends_with('\n')) result.pop_back();
  return result;
}

const KnownTemplate& find_template(const std::string& chat_template) {
  if (chat_template.empty()) {
    throw FormatError("the model has no chat template; give it plain prompts");
  }
  const std::string text = canonical(chat_template);
  const auto* known = std::ranges::find_if(
      kKnownTemplates, [&](const KnownTemplate& candidate) { return candidate.text == text; });
  if (known == std::end(kKnownTemplates)) {
    throw FormatError(fmt::format(
        "the model's chat template is not one of those that are supported (ChatML, SmolLM2, "
        "Qwen2); it begins with '{}'",
        chat_template.substr(0, std::min<size_t>(chat_template.find('\n'), 200))));
  }
  return *known;
}

void check_role(const std::string& role) {
  if (role != "system" && role != "user" && role != "assistant") {
    throw FormatError(
        fmt::format("a chat message has the role '{}' (system, user or assistant)", role));
  }
}

}  // namespace

std::string render_chat(const std::string& chat_template, std::span<const ChatMessage> messages,
                        bool add_generation_prompt) {
  const KnownTemplate& known = find_template(chat_template);
  std::string text;
  const auto add = [&](std::string_view role, std::string_view content) {
    text += fmt::format("<|im_start|>{}\n{}<|im_end|>\n", role, content);
  };
  for (const ChatMessage& message : messages) check_role(message.role);
  if (!known.default_system.empty() && !messages.empty() && messages[0].role != "system") {
    add("system", known.default_system);
  }
  for (const ChatMessage& message : messages) add(message.role, message.content);
  if (add_generation_prompt) text += "<|im_start|>assistant\n";
  return text;
}

std::vector<int64_t> encode_chat(const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
                                 bool add_generation_prompt) {
  return tokenizer.encode(render_chat(tokenizer.chat_template(), messages, add_generation_prompt));
}

}  // namespace leash
