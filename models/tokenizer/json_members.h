// Members of the JSON objects that describe a tokenizer, checked before use.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace leash {

// Members of an object; an absent one and null count as the default. FormatError names the key when
// the value has another type.
bool bool_member(const nlohmann::json& object, const char* key, bool otherwise);
std::optional<std::string> string_member(const nlohmann::json& object, const char* key);
std::string required_string(const nlohmann::json& object, const char* key);
int64_t size_member(const nlohmann::json& object, const char* key, int64_t otherwise);
// The member itself; null where it is absent.
const nlohmann::json& member(const nlohmann::json& object, const char* key);
// The "type" of a component of tokenizer.json, empty when it has none.
std::string type_of(const nlohmann::json& component);
// An id in 0 … kMaxVocabulary - 1; `what` names it.
int64_t token_id_from(const nlohmann::json& value, const std::string& what);

}  // namespace leash
