// Python's str() and repr().
#pragma once

#include <string>
#include <string_view>

#include "models/jinja/value.h"

namespace leash::jinja {

// str(value), what is printed: a text as it is, without markup. Failure for what Python prints with
// an address.
Text to_text(Runtime& runtime, const Value& value);
// The same, but a Markup stays one (markupsafe's soft_str).
Text soft_text(Runtime& runtime, const Value& value);
Text repr(Runtime& runtime, const Value& value);
std::string repr_of_double(double number);
std::string repr_of_text(std::string_view text);
// markupsafe's escape.
Text escape_html(const Text& text);

}  // namespace leash::jinja
