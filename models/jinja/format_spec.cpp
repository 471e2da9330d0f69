// One value under a format specification.
#include <fmt/format.h>

#include <cmath>

#include "models/jinja/format.h"
#include "models/jinja/repr.h"
#include "models/jinja/runtime.h"

namespace leash::jinja {
namespace {

constexpr int64_t kMostDigits = 100'000;

bool is_align(char32_t c) { return c == '<' || c == '>' || c == '=' || c == '^'; }

int64_t read_count(std::string_view text, size_t& at) {
  int64_t count = 0;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
    count = count * 10 + (text[at] - '0');
    if (count > kMostDigits) throw Failure("too many digits in a format");
  }
  return count;
}

// Puts `sign` and `body` into the width.
Text pad(Runtime& runtime, const std::string& sign, const Text& body, const FormatSpec& spec,
         char own_align) {
  const int64_t missing = spec.width - std::ssize(sign) - body.length;
  TextBuilder out;
  const char align = spec.align != 0 ? spec.align : own_align;
  const int64_t all = std::max<int64_t>(missing, 0);
  const int64_t left = align == '<' ? 0 : align == '^' ? all / 2 : all;
  runtime.budget.charge_bytes(static_cast<size_t>(all) * spec.fill.size() + body.bytes.size());
  if (align == '=') out.add(sign);
  for (int64_t i = 0; i < left; ++i) out.add(spec.fill);
  if (align != '=') out.add(sign);
  out.add(body);
  for (int64_t i = left; i < all; ++i) out.add(spec.fill);
  return out.finish();
}

std::string sign_of(bool negative, char sign) {
  if (negative) return "-";
  return sign == '-' ? "" : std::string(1, sign);
}

// Separators between groups of `size` digits at the front of `digits`.
std::string grouped(const std::string& digits, char separator, size_t size) {
  size_t whole = 0;
  while (whole < digits.size() && std::isxdigit(static_cast<unsigned char>(digits[whole]))) ++whole;
  std::string result;
  for (size_t i = 0; i < whole; ++i) {
    if (i > 0 && (whole - i) % size == 0) result += separator;
    result += digits[i];
  }
  return result + digits.substr(whole);
}

Text number_in_width(Runtime& runtime, const std::string& sign, std::string digits,
                     const FormatSpec& spec) {
  if (spec.grouping != 0) {
    const bool decimal =
        spec.type == 0 || std::string_view("deEfFgG%").find(spec.type) != std::string_view::npos;
    if (!decimal && (spec.grouping == ',' || spec.type == 'n' || spec.type == 'c')) {
      throw Failure(fmt::format("Cannot specify '{}' with '{}'.", spec.grouping, spec.type));
    }
    digits = grouped(digits, spec.grouping, decimal ? 3 : 4);
    const bool zeros = spec.fill == "0" && (spec.align == '=' || spec.zero);
    if (zeros && std::ssize(sign) + std::ssize(digits) < spec.width) {
      throw Failure("zeros before separated digits are not supported in a format");
    }
  }
  return pad(runtime, sign, Text(std::move(digits)), spec, spec.zero ? '=' : '>');
}

// printf of the magnitude.
std::string printed(double number, char type, int64_t precision, bool alternate) {
  const std::string format =
      fmt::format("%{}.{}{}", alternate ? "#" : "", precision < 0 ? 6 : precision, type);
  const int size = std::snprintf(nullptr, 0, format.c_str(), number);
  std::string text(static_cast<size_t>(size) + 1, '\0');
  std::snprintf(text.data(), text.size(), format.c_str(), number);
  text.pop_back();
  return text;
}

// Without a type: as repr, or as 'g' that shows at least one digit behind the point.
std::string untyped(double number, const FormatSpec& spec) {
  if (spec.precision < 0) return repr_of_double(number);
  const int64_t precision = std::max<int64_t>(spec.precision, 1);
  if (!std::isfinite(number)) return std::isnan(number) ? "nan" : "inf";
  const std::string exact = printed(number, 'e', precision - 1, false);
  const int exponent = std::atoi(exact.substr(exact.find('e') + 1).c_str());
  // Python leaves the plain form one digit earlier than 'g' does.
  if (exponent >= precision - 1 && exponent < precision && exponent >= -4) {
    std::string mantissa = printed(number, 'e', precision - 1, false);
    const size_t e = mantissa.find('e');
    std::string front = mantissa.substr(0, e);
    if (front.find('.') != std::string::npos) {
      front.erase(front.find_last_not_of('0') + 1);
      if (front.ends_with('.')) front.pop_back();
    }
    return front + mantissa.substr(e);
  }
  std::string text = printed(number, 'g', precision, spec.alternate);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

}  // namespace

FormatSpec parse_spec(std::string_view text) {
  FormatSpec spec;
  size_t at = 0;
  if (!text.empty()) {
    size_t second = 0;
    next_char(text, second);
    if (second < text.size() && is_align(static_cast<unsigned char>(text[second]))) {
      spec.fill = text.substr(0, second);
      spec.align = text[second];
      at = second + 1;
    } else if (is_align(static_cast<unsigned char>(text[0]))) {
      spec.align = text[at++];
    }
  }
  const auto take = [&](char c) { return at < text.size() && text[at] == c && ++at > 0; };
  if (at < text.size() && (text[at] == '+' || text[at] == '-' || text[at] == ' ')) {
    spec.sign = text[at++];
  }
  spec.alternate = take('#');
  if (take('0')) {
    if (spec.align == 0) {
      spec.zero = true;
      spec.fill = "0";
    } else if (spec.fill == " ") {
      spec.fill = "0";
    }
  }
  spec.width = read_count(text, at);
  if (at < text.size() && (text[at] == ',' || text[at] == '_')) spec.grouping = text[at++];
  if (take('.')) {
    const size_t digits = at;
    spec.precision = read_count(text, at);
    if (at == digits) throw Failure("Format specifier missing precision");
  }
  if (at < text.size()) spec.type = text[at++];
  if (at < text.size()) throw Failure("Invalid format specifier");
  return spec;
}

Text format_text(Runtime& runtime, const Text& text, const FormatSpec& spec) {
  if ((spec.type != 0 && spec.type != 's') || spec.sign != '-' || spec.alternate ||
      spec.grouping != 0 || spec.align == '=') {
    throw Failure("a format that a text does not have");
  }
  const Text body = spec.precision >= 0 && spec.precision < text.length
                        ? text.part(0, text.offset(spec.precision))
                        : text;
  return pad(runtime, "", body, spec, '<');
}

Text format_integer(Runtime& runtime, int64_t number, const FormatSpec& spec) {
  if (spec.type != 0 && std::string_view("eEfFgG%").find(spec.type) != std::string_view::npos) {
    return format_number(runtime, static_cast<double>(number), spec);
  }
  if (spec.precision >= 0) throw Failure("Precision not allowed in integer format specifier");
  const uint64_t magnitude =
      number < 0 ? ~static_cast<uint64_t>(number) + 1 : static_cast<uint64_t>(number);
  std::string digits, prefix;
  switch (spec.type) {
    case 0:
    case 'd':
    case 'n':
      digits = fmt::format("{}", magnitude);
      break;
    case 'b':
      digits = fmt::format("{:b}", magnitude);
      prefix = "0b";
      break;
    case 'o':
      digits = fmt::format("{:o}", magnitude);
      prefix = "0o";
      break;
    case 'x':
      digits = fmt::format("{:x}", magnitude);
      prefix = "0x";
      break;
    case 'X':
      digits = fmt::format("{:X}", magnitude);
      prefix = "0X";
      break;
    case 'c':
      if (number < 0 || number > 0x10FFFF || (number >= 0xD800 && number < 0xE000)) {
        throw Failure("%c arg not in range");
      }
      append_char(digits, static_cast<char32_t>(number));
      break;
    default:
      throw Failure(fmt::format("Unknown format code '{}' for object of type 'int'", spec.type));
  }
  const std::string sign = sign_of(number < 0, spec.sign) + (spec.alternate ? prefix : "");
  return number_in_width(runtime, sign, std::move(digits), spec);
}

Text format_number(Runtime& runtime, double number, const FormatSpec& spec) {
  runtime.budget.charge_bytes(static_cast<size_t>(std::max<int64_t>(spec.precision, 0)) + 400);
  const double magnitude = std::abs(number);
  std::string digits;
  if (spec.type == 0) {
    digits = untyped(magnitude, spec);
  } else if (spec.type == '%') {
    digits = printed(magnitude * 100, 'f', spec.precision, spec.alternate) + "%";
  } else if (std::string_view("eEfFgG").find(spec.type) != std::string_view::npos) {
    digits = printed(magnitude, spec.type, spec.precision, spec.alternate);
  } else {
    throw Failure(fmt::format("Unknown format code '{}' for object of type 'float'", spec.type));
  }
  const bool negative = std::signbit(number) && !std::isnan(number);
  return number_in_width(runtime, sign_of(negative, spec.sign), std::move(digits), spec);
}

Text format_value(Runtime& runtime, const Value& value, const FormatSpec& spec) {
  if (const Text* text = value.text()) return format_text(runtime, *text, spec);
  if (const auto whole = value.integer()) return format_integer(runtime, *whole, spec);
  if (const auto* number = value.get<double>()) return format_number(runtime, *number, spec);
  throw Failure(fmt::format("unsupported format string passed to {}.__format__", type_name(value)));
}

}  // namespace leash::jinja
