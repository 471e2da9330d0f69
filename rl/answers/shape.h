// What a JSON answer has to be like: the part of JSON Schema (2020-12) that says so without
// references.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rl/answers/pattern.h"

namespace leash {

// type (a name or a list of them), enum, const, properties, required, additionalProperties (a
// boolean or a schema), minProperties, maxProperties, items, minItems, maxItems, minimum, maximum,
// exclusiveMinimum, exclusiveMaximum, minLength, maxLength (code points), pattern; $schema, title,
// description, default and examples mean nothing. As there, each of them judges values of its own
// type alone, and a number with a zero fraction is an integer.
class JsonShape {
 public:
  // ConfigError names the keyword that is not known or not as it has to be.
  explicit JsonShape(const nlohmann::ordered_json& schema) : JsonShape(schema, "") {}
  bool fits(const nlohmann::ordered_json& value) const;

 private:
  JsonShape(const nlohmann::ordered_json& schema, const std::string& place);
  void read(const std::string& key, const nlohmann::ordered_json& value, const std::string& place);
  bool fits_object(const nlohmann::ordered_json& object) const;
  bool fits_array(const nlohmann::ordered_json& array) const;
  bool fits_number(double number) const;
  bool fits_text(const std::string& text) const;

  std::vector<std::string> types_;
  std::optional<std::vector<nlohmann::ordered_json>> values_;
  std::map<std::string, JsonShape> properties_;
  std::vector<std::string> required_;
  bool others_ = true;
  std::shared_ptr<const JsonShape> of_others_;
  std::shared_ptr<const JsonShape> items_;
  std::map<std::string, double> bounds_;  // by keyword
  std::optional<Pattern> pattern_;
};

// An answer as JSON: the whole of it, white space and one ``` or ```json fence around it aside.
// None where it is no JSON text, has a key twice or is nested deeper than 64.
std::optional<nlohmann::ordered_json> json_answer(std::string_view answer);

}  // namespace leash
