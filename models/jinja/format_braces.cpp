// str.format, in Jinja2's sandbox.
#include <fmt/format.h>

#include <charconv>

#include "models/jinja/format.h"
#include "models/jinja/repr.h"
#include "models/jinja/runtime.h"

namespace leash::jinja {
namespace {

bool all_digits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == text.npos;
}

int64_t index_in(std::string_view digits) {
  int64_t index = 0;
  const auto end = std::from_chars(digits.data(), digits.data() + digits.size(), index);
  if (end.ec != std::errc()) throw Failure("Too many decimal digits in format string");
  return index;
}

class BraceFormat {
 public:
  BraceFormat(Runtime& runtime, const Arguments& arguments)
      : runtime_(runtime), arguments_(arguments) {}

  Text text(const Text& format, int depth) {
    if (depth > 1) throw Failure("Max string recursion exceeded");
    TextBuilder out;
    const std::string& bytes = format.bytes;
    size_t done = 0;
    for (size_t at = 0; (at = bytes.find_first_of("{}", at)) != bytes.npos;) {
      const bool doubled = at + 1 < bytes.size() && bytes[at + 1] == bytes[at];
      out.add(format, done, at + (doubled ? 1 : 0));
      if (doubled) {
        done = at += 2;
        continue;
      }
      if (bytes[at] == '}') throw Failure("Single '}' encountered in format string");
      const size_t end = end_of_field(bytes, at + 1);
      out.add(field(bytes.substr(at + 1, end - at - 1), depth));
      done = at = end + 1;
    }
    out.add(format, done, bytes.size());
    return out.finish();
  }

 private:
  static size_t end_of_field(std::string_view text, size_t at) {
    int open = 1;
    bool bracket = false;
    for (; at < text.size(); ++at) {
      if (text[at] == '[') bracket = true;
      if (text[at] == ']') bracket = false;
      if (bracket) continue;
      open += text[at] == '{' ? 1 : text[at] == '}' ? -1 : 0;
      if (open == 0) return at;
    }
    throw Failure("expected '}' before end of string");
  }

  Text field(const std::string& field, int depth) {
    size_t name_end = 0;
    bool bracket = false;
    for (; name_end < field.size(); ++name_end) {
      if (field[name_end] == '[') bracket = true;
      if (field[name_end] == ']') bracket = false;
      if (!bracket && (field[name_end] == ':' || field[name_end] == '!')) break;
    }
    const Value value = value_of(field.substr(0, name_end));
    size_t at = name_end;
    char conversion = 0;
    if (at < field.size() && field[at] == '!') {
      if (at + 1 >= field.size()) throw Failure("end of string while looking for conversion");
      conversion = field[at + 1];
      at += 2;
      if (at < field.size() && field[at] != ':') throw Failure("expected ':' after conversion");
    }
    const Text spec = at < field.size() ? text(Text(field.substr(at + 1)), depth + 1) : Text();
    return formatted(value, conversion, spec.bytes);
  }

  Text formatted(const Value& value, char conversion, const std::string& spec) {
    if (conversion != 0 && conversion != 's' && conversion != 'r') {
      throw Failure(fmt::format("the conversion !{} is not supported", conversion));
    }
    if (conversion == 'r') {
      return format_text(runtime_, repr(runtime_, value), parse_spec(spec));
    }
    if (conversion == 's') {
      return format_text(runtime_, to_text(runtime_, value), parse_spec(spec));
    }
    if (spec.empty()) return to_text(runtime_, value);
    return format_value(runtime_, value, parse_spec(spec));
  }

  // name(.attribute | [index])*
  Value value_of(std::string_view name) {
    const size_t first_end = std::min(name.find_first_of(".["), name.size());
    if (first_end == 0 && !name.empty()) throw Failure("a format needs a name before . or [");
    Value value = first_value(name.substr(0, first_end));
    size_t at = first_end;
    while (at < name.size()) {
      if (name[at] == '.') {
        const size_t end = std::min(name.find_first_of(".[", at + 1), name.size());
        if (end == at + 1) throw Failure("Empty attribute in format string");
        value = attribute(runtime_, value, name.substr(at + 1, end - at - 1));
        at = end;
      } else if (name[at] == '[') {
        const size_t end = name.find(']', at);
        if (end == name.npos) throw Failure("Missing ']' in format string");
        const std::string_view key = name.substr(at + 1, end - at - 1);
        if (key.empty()) throw Failure("Empty attribute in format string");
        value =
            item(runtime_, value, all_digits(key) ? Value(index_in(key)) : Value(std::string(key)));
        at = end + 1;
      } else {
        throw Failure("Only '.' or '[' may follow ']' in format field specifier");
      }
    }
    return value;
  }

  Value first_value(std::string_view name) {
    if (name.empty() || all_digits(name)) {
      const bool automatic = name.empty();
      if (numbering_ != 0 && numbering_ != (automatic ? 1 : 2)) {
        throw Failure("a format numbers its fields both by itself and by hand");
      }
      numbering_ = automatic ? 1 : 2;
      const int64_t index = automatic ? next_++ : index_in(name);
      if (index >= std::ssize(arguments_.positional)) {
        throw Failure("Replacement index out of range for positional args tuple");
      }
      return arguments_.positional[static_cast<size_t>(index)];
    }
    for (const auto& [key, value] : arguments_.named) {
      if (key == name) return value;
    }
    throw Failure(fmt::format("a format needs '{}'", name));
  }

  Runtime& runtime_;
  const Arguments& arguments_;
  int numbering_ = 0;  // 1: by itself, 2: by hand
  int64_t next_ = 0;
};

}  // namespace

Value format_braces(Runtime& runtime, const Text& format, const Arguments& arguments) {
  if (format.markup) throw Failure("format on a safe text is not supported");
  return make_text(runtime, BraceFormat(runtime, arguments).text(format, 0));
}

}  // namespace leash::jinja
