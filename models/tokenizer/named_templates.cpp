#include "models/tokenizer/named_templates.h"

#include <fmt/format.h>

namespace leash {
namespace {

// A template's last line break is no part of what it renders.
std::string without_last_break(const std::string& text) {
  return text.ends_with('\n') ? text.substr(0, text.size() - 1) : text;
}

constexpr const char* kNoDefault =
    "{{ raise_exception('none of the model\\'s chat templates is named default, which "
    "conversations "
    "without tools take; give one by data.chat_template or --chat-template') }}";

}  // namespace

std::string joined_templates(const std::map<std::string, std::string>& by_name) {
  const auto plain = by_name.find("default");
  const auto with_tools = by_name.find("tool_use");
  if (with_tools == by_name.end()) {
    if (plain != by_name.end()) return plain->second;
    return by_name.empty() ? "" : kNoDefault;
  }
  // The plus signs leave line breaks and spaces at the borders to the templates.
  return fmt::format(
      "{{%+ if tools is defined and tools is not none +%}}{}{{%+ else +%}}{}{{%+ endif +%}}",
      without_last_break(with_tools->second),
      plain != by_name.end() ? without_last_break(plain->second) : kNoDefault);
}

}  // namespace leash
