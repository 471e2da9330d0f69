// nlohmann::json behind checks that turn every surprise into a FormatError.
#include "models/tokenizer/json_members.h"

#include <fmt/core.h>

#include "models/errors.h"
#include "models/tokenizer/tokenizer_parts.h"

namespace leash {

bool bool_member(const nlohmann::json& object, const char* key, bool otherwise) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return otherwise;
  if (!found->is_boolean()) throw FormatError(fmt::format("'{}' is neither true nor false", key));
  return found->get<bool>();
}

std::optional<std::string> string_member(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return std::nullopt;
  if (!found->is_string()) throw FormatError(fmt::format("'{}' is no string", key));
  return found->get<std::string>();
}

std::string type_of(const nlohmann::json& component) {
  if (!component.is_object()) throw FormatError("a component that is no object");
  return string_member(component, "type").value_or("");
}

int64_t token_id_from(const nlohmann::json& value, const std::string& what) {
  const bool fits = value.is_number_unsigned() && value.get<uint64_t>() < kMaxVocabulary;
  if (!fits) {
    throw FormatError(fmt::format(
        "{} has the id {}, which is no number in 0 … {}", what,
        value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).substr(0, 40),
        kMaxVocabulary - 1));
  }
  return value.get<int64_t>();
}

}  // namespace leash
