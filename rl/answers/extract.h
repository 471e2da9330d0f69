// The part of an answer that counts.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace leash {

// What stands in the last \boxed{…} (\fbox{…}), whose braces are balanced (\{ and \} do not count);
// `\boxed 5` has the 5. None where there is none, or where the last one is not closed: the answer
// was cut off.
std::optional<std::string_view> last_boxed(std::string_view text);

// What stands behind the last `marker`; none where there is none.
std::optional<std::string_view> behind_last(std::string_view text, std::string_view marker);

// For comparing texts: valid UTF-8, composed (NFC), white space at the ends left out and each run
// of it inside one space; case-folded if asked for.
std::string comparable_text(std::string_view text, bool ignore_case);
// For comparing formulas: without white space, $, \left, \right, \, \! \; and \text around its
// content; \dfrac and \tfrac are \frac.
std::string comparable_formula(std::string_view text, bool ignore_case);

}  // namespace leash
