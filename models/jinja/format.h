// "…" % values and "…".format(…).
#pragma once

#include <string>
#include <string_view>

#include "models/jinja/value.h"

namespace leash::jinja {

// Python's printf-style formatting.
Value format_percent(Runtime& runtime, const Text& format, const Value& values);
// str.format.
Value format_braces(Runtime& runtime, const Text& format, const Arguments& arguments);

// Python's format specification: [[fill]align][sign][#][0][width][grouping][.precision][type].
struct FormatSpec {
  std::string fill = " ";
  char align = 0;  // 0: the type's own
  char sign = '-';
  bool alternate = false;
  bool zero = false;
  int64_t width = 0;
  char grouping = 0;
  int64_t precision = -1;
  char type = 0;
};
FormatSpec parse_spec(std::string_view text);
// format(value, spec). Failure where Python has none.
Text format_value(Runtime& runtime, const Value& value, const FormatSpec& spec);
Text format_number(Runtime& runtime, double number, const FormatSpec& spec);
Text format_integer(Runtime& runtime, int64_t number, const FormatSpec& spec);
Text format_text(Runtime& runtime, const Text& text, const FormatSpec& spec);

}  // namespace leash::jinja
