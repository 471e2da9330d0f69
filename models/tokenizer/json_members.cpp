// nlohmann::json behind checks that turn every surprise into a FormatError.
#include "models/tokenizer/json_members.h"

#include <fmt/core.h>

#include "models/errors.h"
#include "models/subwords/vocabulary.h"

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

const nlohmann::json& member(const nlohmann::json& object, const char* key) {
  static const nlohmann::json kNull;
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

std::string required_string(const nlohmann::json& object, const char* key) {
  const auto text = string_member(object, key);
  if (!text) throw FormatError(fmt::format("{} has no '{}'", type_of(object), key));
  return *text;
}

int64_t size_member(const nlohmann::json& object, const char* key, int64_t otherwise) {
  const nlohmann::json& value = member(object, key);
  if (value.is_null()) return otherwise;
  if (value.is_number_unsigned() && value.get<uint64_t>() <= INT64_MAX) return value.get<int64_t>();
  throw FormatError(fmt::format("'{}' is no number from 0 on", key));
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
