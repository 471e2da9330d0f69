// JSON from outside, read strictly: no key twice, no absurd nesting, errors as FormatError.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace leash {

// Text from a file, cut to what a message has room for (models/printable.h).
std::string brief(std::string_view text);

// `origin` stands at the front of messages.
nlohmann::json parse_json(std::string_view text, const std::string& origin);
// The same with keys in the order written, for what templates read. A whole number beyond 64 bits
// is an error, for it would become another one.
nlohmann::ordered_json parse_ordered_json(std::string_view text, const std::string& origin);
nlohmann::json read_json_file(const std::filesystem::path& file);

// The keys of the object that is `member` of the text's object, in the order written; none where it
// is no object. The text was parsed before.
std::vector<std::string> keys_in_order(std::string_view text, std::string_view member);

// A number that was written by nlohmann: null is what it makes of NaN and infinities.
double number_or_nan(const nlohmann::json& value);

}  // namespace leash
