// A column of the record that a prompt came from.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace leash {

// The value of `name`; where there is no such key, "a.b" is b inside the object a. FormatError
// where there is none (also where `row` is nullptr), or where it is null.
const nlohmann::ordered_json& column_of(const nlohmann::ordered_json* row, const std::string& name);

// A text, or each of a list of them; numbers and booleans count as their JSON. FormatError for
// objects, and for an empty list.
std::vector<std::string> column_texts(const nlohmann::ordered_json& value, const std::string& name);
// FormatError for anything but one text, or one finite number.
std::string column_text(const nlohmann::ordered_json& value, const std::string& name);
double column_number(const nlohmann::ordered_json& value, const std::string& name);

}  // namespace leash
