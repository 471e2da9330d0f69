#include "configs/json_value.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "models/errors.h"
#include "models/io/json_file.h"

namespace leash {
namespace {

using OrderedJson = nlohmann::ordered_json;

// A plain scalar is a number or truth value where JSON would read it so.
OrderedJson json_of_scalar(const ConfigValue& value) {
  const std::string& text = value.scalar;
  if (!value.quoted) {
    const bool number = !text.empty() && (text[0] == '-' || (text[0] >= '0' && text[0] <= '9'));
    if (text == "true" || text == "True" || text == "TRUE") return true;
    if (text == "false" || text == "False" || text == "FALSE") return false;
    if (number && OrderedJson::accept(text)) return parse_ordered_json(text, "");
  }
  return text;
}

OrderedJson json_of(const ConfigValue& value) {
  OrderedJson json;
  switch (value.kind) {
    case ConfigValue::Kind::scalar:
      return json_of_scalar(value);
    case ConfigValue::Kind::list:
      json = OrderedJson::array();
      for (const ConfigValue& item : value.items) json.push_back(json_of(item));
      return json;
    case ConfigValue::Kind::map:
      json = OrderedJson::object();
      for (const auto& [key, field] : value.fields) json[key] = json_of(field);
      return json;
    case ConfigValue::Kind::null:
    case ConfigValue::Kind::refused:
      break;
  }
  return json;
}

}  // namespace

void read_json_object(const ConfigValue& value, JsonObject& into, const std::string& path,
                      Problems& problems) {
  try {
    if (value.kind == ConfigValue::Kind::null) {
      into.text.clear();
      return;
    }
    OrderedJson json = json_of(value);
    if (value.kind == ConfigValue::Kind::scalar)
      json = parse_ordered_json(value.scalar, "the text");
    if (json.is_object()) {
      into.text = json.empty() ? "" : json.dump();
      return;
    }
  } catch (const FormatError& error) {
    return problems.add(value.place, path, fmt::format("has to be a map: {}", error.what()));
  }
  problems.add(value.place, path, fmt::format("has to be a map, not {}", describe(value)));
}

}  // namespace leash
