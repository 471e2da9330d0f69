// The text that a string literal of a template stands for.
#pragma once

#include <string>
#include <string_view>

namespace leash::jinja {

// Python's unicode-escape over a literal without its quotes. SyntaxError.
std::string unescape(std::string_view literal, int line);

}  // namespace leash::jinja
