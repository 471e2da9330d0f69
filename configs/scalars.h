// Scalars between YAML's text and C++ values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/fields.h"

namespace leash {

// nullopt when the text is no such value. Integers may be written as 1000 or 1_000, numbers as
// 1e-5 or 0.5; a number that is NaN or infinite is none. Booleans are true and false.
std::optional<int64_t> parse_integer(std::string_view text);
std::optional<double> parse_number(std::string_view text);
std::optional<bool> parse_boolean(std::string_view text);
// Why a text is no value of the type although it looks like one ("is beyond what a number can
// hold": 1e400); empty where it does not.
template <class T>
std::string_view beyond_type(std::string_view text);

// Shortest text that reads as the same value.
std::string number_text(double value);
// As YAML, quoted where a plain scalar would read as something else.
std::string yaml_string(std::string_view text);

// The range of a whole number: up to kMostOfAnything where it has no upper bound of its own, and
// likewise below.
Range integer_range(Range range);
// What is wrong with a number outside `range` ("has to be above 0, not -1"); nullopt when nothing.
std::optional<std::string> range_problem(double value, const Range& range);
// "≥ 1", "0 … 1", "> 0"; empty for any number.
std::string range_text(const Range& range);

// "has to be one of k1, k2, k3, not `k4` (did you mean `k3`?)".
std::string choice_problem(const std::string& described, std::string_view written,
                           const std::vector<std::string>& choices);

}  // namespace leash
