// Numbers as people and models write them in a text.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace leash {

struct NumberRules {
  double percent =
      100;  // what a number before a percent sign is divided by; 1: the sign is ignored
};

struct FoundNumber {
  double value = 0;      // finite
  std::string text{};    // as written, without the percent sign
  std::string digits{};  // of a whole number written without an exponent: sign and digits, no
                         // leading zeros; else empty
};

// All numbers of a text from left to right. A number is
//   - digits with or without a decimal point (`.`), or with commas before groups of three
//   - a sign before it (-, + or U+2212), also before a currency ($, €, £), unless what comes
//     before the sign is a letter, a digit, a closing bracket or another sign: 5-3 has 5 and 3
//   - an exponent behind it (1e5, 3 × 10^5, 3*10^{5}, 3 \times 10⁵), or 10^n alone
//   - a/b, \frac{a}{b} (\dfrac, \tfrac), and a whole number, one space and a proper fraction
//   - a percent sign behind it, which divides by `percent`
// No number is: digits behind an ASCII letter or underscore (x2, H2O); exponents; what is raised to
// a power, multiplied with \sqrt or π, or divided by 0; numbers in a chain of points or slashes
// (1.2.3, 3/4/2024). {,} is a comma; \, \! \; and $ around a number mean nothing.
struct NumbersInText {
  std::vector<FoundNumber> numbers{};
  bool expression = false;  // something numeric was passed over
};
NumbersInText numbers_in(std::string_view text, const NumberRules& rules = {});

// The one number of a text that has one and no expression (words and units may stand around it).
std::optional<FoundNumber> only_number(std::string_view text, const NumberRules& rules = {});

// Whether both are equal: whole numbers digit by digit, others up to the rounding of a double, both
// up to `tolerance`.
bool equal_numbers(const FoundNumber& a, const FoundNumber& b, double tolerance);

}  // namespace leash
