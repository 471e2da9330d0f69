// JSON from outside, read strictly: no key twice, no absurd nesting, errors as FormatError.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace leash {

// Text from a file, cut to what a message has room for.
std::string brief(std::string text);

// `origin` stands at the front of messages.
nlohmann::json parse_json(std::string_view text, const std::string& origin);
nlohmann::json read_json_file(const std::filesystem::path& file);

// A number that was written by nlohmann: null is what it makes of NaN and infinities.
double number_or_nan(const nlohmann::json& value);

}  // namespace leash
