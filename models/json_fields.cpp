// Typed access to JSON, with errors that name the file and the key.
#include "models/json_fields.h"

#include <fmt/format.h>

#include <limits>
#include <utility>

#include "models/errors.h"
#include "models/printable.h"

namespace leash {

namespace {
// Long values are cut in messages.
std::string shown(const nlohmann::json& value) {
  constexpr size_t kMaxShown = 60;
  return printable(value.dump(-1, ' ', true), kMaxShown);
}
}  // namespace

JsonFields::JsonFields(const nlohmann::json& object, std::string origin)
    : object_(&object),
      origin_(std::move(origin)),
      asked_(std::make_shared<std::set<std::string, std::less<>>>()) {
  if (!object.is_object()) fail("is no JSON object");
}

const nlohmann::json* JsonFields::find(const char* key) const {
  asked_->insert(key);
  const auto found = object_->find(key);
  return found == object_->end() || found->is_null() ? nullptr : &*found;
}

bool JsonFields::is_null(const char* key) const {
  asked_->insert(key);
  const auto found = object_->find(key);
  return found != object_->end() && found->is_null();
}

int64_t JsonFields::as_integer(const nlohmann::json& value, const char* key) const {
  const bool fits =
      value.is_number_unsigned()
          ? value.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())
          : value.is_number_integer();
  if (!fits) wrong_type(key, "an integer");
  return value.get<int64_t>();
}

std::optional<int64_t> JsonFields::integer(const char* key) const {
  const auto* value = find(key);
  if (value == nullptr) return std::nullopt;
  return as_integer(*value, key);
}

std::optional<double> JsonFields::number(const char* key) const {
  const auto* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) wrong_type(key, "a number");
  return value->get<double>();
}

std::optional<bool> JsonFields::boolean(const char* key) const {
  const auto* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) wrong_type(key, "true or false");
  return value->get<bool>();
}

std::optional<std::string> JsonFields::string(const char* key) const {
  const auto* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) wrong_type(key, "a string");
  return value->get<std::string>();
}

std::optional<std::vector<int64_t>> JsonFields::integers(const char* key) const {
  const auto* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_array()) return std::vector<int64_t>{as_integer(*value, key)};
  std::vector<int64_t> result;
  for (const auto& item : *value) result.push_back(as_integer(item, key));
  return result;
}

std::optional<std::vector<double>> JsonFields::numbers(const char* key) const {
  const auto* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_array()) wrong_type(key, "a list of numbers");
  std::vector<double> result;
  for (const auto& item : *value) {
    if (!item.is_number()) wrong_type(key, "a list of numbers");
    result.push_back(item.get<double>());
  }
  return result;
}

std::optional<std::vector<std::string>> JsonFields::strings(const char* key) const {
  const auto* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_array()) wrong_type(key, "a list of strings");
  std::vector<std::string> result;
  for (const auto& item : *value) {
    if (!item.is_string()) wrong_type(key, "a list of strings");
    result.push_back(item.get<std::string>());
  }
  return result;
}

std::optional<JsonFields> JsonFields::object(const char* key) const {
  const auto* value = find(key);
  if (value == nullptr) return std::nullopt;
  return JsonFields(*value, fmt::format("{}: {}", origin_, key));
}

int64_t JsonFields::required_integer(const char* key) const {
  const auto value = integer(key);
  if (!value) fail(fmt::format("'{}' is missing", key));
  return *value;
}

double JsonFields::required_number(const char* key) const {
  const auto value = number(key);
  if (!value) fail(fmt::format("'{}' is missing", key));
  return *value;
}

std::vector<std::string> JsonFields::unasked() const {
  std::vector<std::string> names;
  for (const auto& [name, value] : object_->items()) {
    if (!value.is_null() && !asked_->contains(name)) names.push_back(name);
  }
  return names;
}

void JsonFields::fail(const std::string& what) const {
  throw FormatError(fmt::format("{}: {}", origin_, what));
}

void JsonFields::wrong_type(const char* key, const char* wanted) const {
  fail(fmt::format("'{}' is {}, {} is needed", key, shown(*find(key)), wanted));
}

}  // namespace leash
