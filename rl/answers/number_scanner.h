// Finds numbers in a text whose signs, commas and exponents have one spelling.
#pragma once

#include <string_view>

#include "rl/answers/numbers.h"

namespace leash {

NumbersInText scan_numbers(std::string_view text, const NumberRules& rules);

}  // namespace leash
