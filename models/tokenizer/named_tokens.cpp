#include "models/tokenizer/named_tokens.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace leash {
namespace {

// A text, or an added token with its text as `content`; none for anything else.
const std::string* token_text(const nlohmann::json& value) {
  if (value.is_string()) return value.get_ptr<const std::string*>();
  const auto content = value.is_object() ? value.find("content") : value.end();
  if (!value.is_object() || content == value.end()) return nullptr;
  return content->get_ptr<const std::string*>();
}

}  // namespace

std::vector<std::pair<std::string, std::string>> read_named_tokens(const nlohmann::json& config,
                                                                   const nlohmann::json& map) {
  std::vector<std::pair<std::string, std::string>> named;
  const auto add_all = [&](const nlohmann::json& object) {
    if (!object.is_object()) return;
    for (const auto& [name, value] : object.items()) {
      const std::string* text = token_text(value);
      const bool id = name == "bos_token" || name == "eos_token" || name == "pad_token";
      const bool known = std::ranges::count(named, name, [](const auto& e) { return e.first; }) > 0;
      if (text != nullptr && name.ends_with("_token") && !id && !known) {
        named.emplace_back(name, *text);
      }
    }
  };
  add_all(config);
  for (const char* key : {"extra_special_tokens", "model_specific_special_tokens"}) {
    if (config.is_object() && config.contains(key)) add_all(config[key]);
  }
  add_all(map);
  return named;
}

}  // namespace leash
