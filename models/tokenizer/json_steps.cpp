#include "models/tokenizer/json_steps.h"

#include <fmt/core.h>

#include "models/errors.h"
#include "models/text/utf8.h"
#include "models/tokenizer/json_members.h"

namespace leash::json_steps {

void refuse(const char* component, const std::string& type) {
  throw FormatError(fmt::format("the {} '{}' is not supported", component, type));
}

std::vector<nlohmann::json> flattened(const nlohmann::json& component, const char* key) {
  if (component.is_null()) return {};
  if (type_of(component) != "Sequence") return {component};
  const nlohmann::json& list = member(component, key);
  if (!list.is_array()) throw FormatError(fmt::format("a Sequence without the array '{}'", key));
  std::vector<nlohmann::json> parts;
  for (const nlohmann::json& step : list) {
    if (!step.is_object()) throw FormatError(fmt::format("'{}' holds what is no object", key));
    for (nlohmann::json& part : flattened(step, key)) parts.push_back(std::move(part));
  }
  return parts;
}

Regex read_pattern(const nlohmann::json& step) {
  const nlohmann::json& pattern = member(step, "pattern");
  if (pattern.is_object()) {
    if (const auto regex = string_member(pattern, "Regex")) return Regex(*regex);
    if (const auto text = string_member(pattern, "String")) return Regex::literal(*text);
  }
  throw FormatError(fmt::format("{} has no pattern", type_of(step)));
}

std::string read_char(const nlohmann::json& step, const char* key) {
  std::string text = required_string(step, key);
  if (text.empty() || first_char(text).length != text.size()) {
    throw FormatError(fmt::format("{}: '{}' is not one character", type_of(step), key));
  }
  return text;
}

pre_tokenizers::Metaspace read_metaspace(const nlohmann::json& step) {
  using Prepend = pre_tokenizers::Metaspace::Prepend;
  pre_tokenizers::Metaspace result;
  result.replacement = read_char(step, "replacement");
  result.split = bool_member(step, "split", true);
  // Files from before prepend_scheme have the other one alone.
  const bool prefix = bool_member(step, "add_prefix_space", true);
  const std::string scheme =
      string_member(step, "prepend_scheme").value_or(prefix ? "always" : "never");
  if (scheme == "always") {
    result.prepend = Prepend::always;
  } else if (scheme == "first") {
    result.prepend = Prepend::first;
  } else if (scheme == "never") {
    result.prepend = Prepend::never;
  } else {
    throw FormatError(fmt::format("Metaspace has the unknown prepend_scheme '{}'", scheme));
  }
  if (!prefix && result.prepend != Prepend::never) {
    throw FormatError(
        fmt::format("Metaspace: add_prefix_space is false, but prepend_scheme is '{}'", scheme));
  }
  return result;
}

}  // namespace leash::json_steps
