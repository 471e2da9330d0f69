#include "rl/answers/shape.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "models/errors.h"
#include "models/io/json_file.h"
#include "models/printable.h"
#include "models/text/utf8.h"

namespace leash {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr std::string_view kTypes[] = {"object",  "array",   "string", "number",
                                       "integer", "boolean", "null"};
constexpr std::string_view kCounts[] = {"minProperties", "maxProperties", "minItems",
                                        "maxItems",      "minLength",     "maxLength"};
constexpr std::string_view kBounds[] = {"minimum", "maximum", "exclusiveMinimum",
                                        "exclusiveMaximum"};
constexpr std::string_view kComments[] = {"$schema", "title", "description", "default", "examples"};

bool is_one_of(std::span<const std::string_view> names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

[[noreturn]] void schema_error(const std::string& place, const std::string& what) {
  throw ConfigError(fmt::format("schema{}: {}", place, what));
}

bool is_integer(const OrderedJson& value) {
  if (value.is_number_integer()) return true;
  return value.is_number_float() && std::trunc(value.get<double>()) == value.get<double>();
}

bool has_type(const OrderedJson& value, const std::string& type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "number") return value.is_number();
  if (type == "integer") return is_integer(value);
  if (type == "boolean") return value.is_boolean();
  return value.is_null();
}

// Whatever the order of an object's keys.
bool same_json(const OrderedJson& a, const OrderedJson& b) {
  if (a.is_object() && b.is_object()) {
    return a.size() == b.size() && std::ranges::all_of(a.items(), [&](const auto& entry) {
             const auto found = b.find(entry.key());
             return found != b.end() && same_json(entry.value(), *found);
           });
  }
  if (a.is_array() && b.is_array()) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), same_json);
  }
  return a == b;
}

std::vector<std::string> names_of(const OrderedJson& value, const std::string& place) {
  std::vector<std::string> names;
  for (const OrderedJson& name : value) {
    if (!name.is_string()) schema_error(place, "has to be a list of texts");
    names.push_back(name.get<std::string>());
  }
  return names;
}

// Whether a number of something is within both bounds, where there are any.
bool within_bounds(const std::map<std::string, double>& bounds, const char* least, const char* most,
                   double count) {
  const auto low = bounds.find(least), high = bounds.find(most);
  return (low == bounds.end() || count >= low->second) &&
         (high == bounds.end() || count <= high->second);
}

}  // namespace

JsonShape::JsonShape(const OrderedJson& schema, const std::string& place) {
  if (!schema.is_object()) schema_error(place, "has to be an object");
  for (const auto& [key, value] : schema.items()) read(key, value, place + "." + key);
}

void JsonShape::read(const std::string& key, const OrderedJson& value, const std::string& place) {
  if (is_one_of(kComments, key)) return;
  if (key == "type") {
    types_ = value.is_array() ? names_of(value, place) : std::vector<std::string>{};
    if (value.is_string()) types_ = {value.get<std::string>()};
    if (types_.empty()) schema_error(place, "has to be the name of a type, or a list of them");
    for (const std::string& type : types_) {
      if (!is_one_of(kTypes, type)) schema_error(place, "there is no type " + printable(type));
    }
  } else if (key == "enum") {
    if (!value.is_array() || value.empty()) schema_error(place, "has to be a list of values");
    values_ = std::vector<OrderedJson>(value.begin(), value.end());
  } else if (key == "const") {
    values_ = std::vector<OrderedJson>{value};
  } else if (key == "properties") {
    if (!value.is_object()) schema_error(place, "has to be an object");
    for (const auto& [name, schema] : value.items()) {
      properties_.emplace(name, JsonShape(schema, place + "." + name));
    }
  } else if (key == "required") {
    if (!value.is_array()) schema_error(place, "has to be a list of texts");
    required_ = names_of(value, place);
  } else if (key == "additionalProperties" && value.is_boolean()) {
    others_ = value.get<bool>();
  } else if (key == "additionalProperties" || key == "items") {
    (key == "items" ? items_ : of_others_) =
        std::shared_ptr<const JsonShape>(new JsonShape(value, place));
  } else if (is_one_of(kCounts, key) || is_one_of(kBounds, key)) {
    const bool counts = is_one_of(kCounts, key);
    if (!value.is_number() || (counts && (!is_integer(value) || value.get<double>() < 0))) {
      schema_error(place, counts ? "has to be a whole number from 0 on" : "has to be a number");
    }
    bounds_[key] = value.get<double>();
  } else if (key == "pattern") {
    if (!value.is_string()) schema_error(place, "has to be a text");
    try {
      pattern_.emplace(value.get<std::string>());
    } catch (const ConfigError& error) {
      schema_error(place, error.what());
    }
  } else {
    schema_error(place, "is not supported (see json_schema in docs/rewards.md)");
  }
}

bool JsonShape::fits(const OrderedJson& value) const {
  const auto has = [&](const std::string& type) { return has_type(value, type); };
  if (!types_.empty() && std::ranges::none_of(types_, has)) return false;
  const auto equals = [&](const OrderedJson& allowed) { return same_json(value, allowed); };
  if (values_ && std::ranges::none_of(*values_, equals)) return false;
  if (value.is_object()) return fits_object(value);
  if (value.is_array()) return fits_array(value);
  if (value.is_number()) return fits_number(value.get<double>());
  return !value.is_string() || fits_text(value.get_ref<const std::string&>());
}

bool JsonShape::fits_object(const OrderedJson& object) const {
  const auto count = static_cast<double>(object.size());
  if (!within_bounds(bounds_, "minProperties", "maxProperties", count)) return false;
  const auto missing = [&](const std::string& name) { return !object.contains(name); };
  if (std::ranges::any_of(required_, missing)) return false;
  for (const auto& [name, value] : object.items()) {
    const auto known = properties_.find(name);
    if (known != properties_.end() && !known->second.fits(value)) return false;
    if (known != properties_.end()) continue;
    if (!others_ || (of_others_ && !of_others_->fits(value))) return false;
  }
  return true;
}

bool JsonShape::fits_array(const OrderedJson& array) const {
  if (!within_bounds(bounds_, "minItems", "maxItems", static_cast<double>(array.size()))) {
    return false;
  }
  return !items_ ||
         std::ranges::all_of(array, [&](const OrderedJson& item) { return items_->fits(item); });
}

bool JsonShape::fits_number(double number) const {
  const auto above = bounds_.find("exclusiveMinimum"), below = bounds_.find("exclusiveMaximum");
  return within_bounds(bounds_, "minimum", "maximum", number) &&
         (above == bounds_.end() || number > above->second) &&
         (below == bounds_.end() || number < below->second);
}

bool JsonShape::fits_text(const std::string& text) const {
  double count = 0;
  for_each_char(text, [&](char32_t, std::string_view) { ++count; });
  return within_bounds(bounds_, "minLength", "maxLength", count) &&
         (!pattern_ || pattern_->found_in(text));
}

std::optional<OrderedJson> json_answer(std::string_view answer) {
  constexpr std::string_view kSpace = " \t\r\n";
  const auto trim = [&](std::string_view text) {
    text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
    return text.substr(0, text.find_last_not_of(kSpace) + 1);
  };
  std::string_view text = trim(answer);
  if (text.starts_with("```")) {
    const size_t line = text.find('\n');
    const std::string_view language = trim(text.substr(3, line == text.npos ? 0 : line - 3));
    if (line == text.npos || !text.ends_with("```") || text.size() < line + 4) return std::nullopt;
    if (!language.empty() && language != "json") return std::nullopt;
    text = trim(text.substr(line + 1, text.size() - line - 4));
  }
  try {
    return OrderedJson(parse_json(text, "the answer"));
  } catch (const FormatError&) {
    return std::nullopt;
  }
}

}  // namespace leash
