// Filters that convert to numbers and round them.
#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <map>

#include "models/jinja/filters.h"
#include "models/jinja/operators.h"
#include "models/jinja/repr.h"
#include "models/jinja/runtime.h"

namespace leash::jinja {
namespace {

bool has(const Value& value) { return !value.missing(); }

// Text without white space around and without single underscores between digits; none where these
// stand elsewhere.
std::optional<std::string> number_text(std::string_view text) {
  text.remove_prefix(leading_space(text));
  text.remove_suffix(text.empty() ? 0 : trailing_space(text));
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    if (static_cast<uint8_t>(text[i]) >= 0x80) {
      throw Failure("numbers are read from ASCII digits alone");
    }
    if (text[i] != '_') {
      result += text[i];
      continue;
    }
    const bool between = i > 0 && i + 1 < text.size() &&
                         std::isalnum(static_cast<unsigned char>(text[i - 1])) &&
                         std::isalnum(static_cast<unsigned char>(text[i + 1]));
    if (!between) return std::nullopt;
  }
  return result;
}

// float(text)
std::optional<double> parse_double(std::string_view text) {
  const auto digits = number_text(text);
  if (!digits || digits->empty()) return std::nullopt;
  std::string_view rest = *digits;
  const bool negative = rest.front() == '-';
  if (rest.front() == '+' || rest.front() == '-') rest.remove_prefix(1);
  if (rest.empty() || rest.front() == '+' || rest.front() == '-') return std::nullopt;
  std::string lower;
  for (const char c : rest) lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  double value = 0;
  if (lower == "inf" || lower == "infinity") {
    value = INFINITY;
  } else if (lower == "nan") {
    value = NAN;
  } else {
    if (!std::isdigit(static_cast<unsigned char>(lower[0])) && lower[0] != '.') return std::nullopt;
    // from_chars has no value for what is out of range; strtod has, and the text is ASCII digits.
    char* end = nullptr;
    if (lower.find('x') != std::string::npos) return std::nullopt;
    value = std::strtod(lower.c_str(), &end);
    if (end != lower.c_str() + lower.size()) return std::nullopt;
  }
  return negative ? -value : value;
}

// int(text, base)
std::optional<int64_t> parse_integer(std::string_view text, int64_t base) {
  if (base != 0 && (base < 2 || base > 36)) return std::nullopt;
  const auto digits = number_text(text);
  if (!digits) return std::nullopt;
  std::string_view rest = *digits;
  const bool negative = rest.starts_with('-');
  if (rest.starts_with('-') || rest.starts_with('+')) rest.remove_prefix(1);
  if (rest.size() > 2 && rest[0] == '0') {
    const char kind = static_cast<char>(rest[1] | 0x20);
    const int64_t own = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 0;
    if (own != 0 && (base == own || base == 0)) {
      rest.remove_prefix(2);
      base = own;
    }
  }
  if (base == 0) {
    if (rest.size() > 1 && rest[0] == '0' && rest.find_first_not_of('0') != rest.npos) {
      return std::nullopt;
    }
    base = 10;
  }
  if (rest.empty() || !std::isalnum(static_cast<unsigned char>(rest[0]))) return std::nullopt;
  uint64_t value = 0;
  const auto end =
      std::from_chars(rest.data(), rest.data() + rest.size(), value, static_cast<int>(base));
  if (end.ptr != rest.data() + rest.size() || end.ec == std::errc::invalid_argument) {
    return std::nullopt;
  }
  if (end.ec != std::errc() || value > INT64_MAX) throw Failure("an integer does not fit 64 bits");
  return negative ? -static_cast<int64_t>(value) : static_cast<int64_t>(value);
}

std::optional<int64_t> truncated(double number) {
  if (!std::isfinite(number)) return std::nullopt;
  if (std::abs(number) >= 0x1p63) throw Failure("an integer does not fit 64 bits");
  return static_cast<int64_t>(number);
}

void refuse_undefined(const Value& value) {
  if (const auto* undefined = value.get<UndefinedPtr>()) throw Failure((*undefined)->message);
}

Value filter_int(Runtime&, Arguments arguments) {
  const auto values = bind_arguments("int", std::move(arguments), {"value", "default", "base"}, 1);
  const Value otherwise = has(values[1]) ? values[1] : Value(int64_t{0});
  refuse_undefined(values[0]);
  std::optional<int64_t> result;
  if (const Text* text = values[0].text()) {
    const int64_t base = has(values[2]) ? int_argument("int", values[2]) : 10;
    result = parse_integer(text->bytes, base);
    if (!result) {
      if (const auto number = parse_double(text->bytes)) result = truncated(*number);
    }
  } else if (const auto whole = values[0].integer()) {
    result = whole;
  } else if (const auto* number = values[0].get<double>()) {
    // int(inf) is an OverflowError, which nothing catches at first.
    if (std::isinf(*number)) throw Failure("cannot convert float infinity to integer");
    result = truncated(*number);
  }
  return result ? Value(*result) : otherwise;
}

Value filter_float(Runtime&, Arguments arguments) {
  const auto values = bind_arguments("float", std::move(arguments), {"value", "default"}, 1);
  refuse_undefined(values[0]);
  const Value otherwise = has(values[1]) ? values[1] : Value(0.0);
  if (const Text* text = values[0].text()) {
    const auto number = parse_double(text->bytes);
    return number ? Value(*number) : otherwise;
  }
  if (const auto whole = values[0].integer()) return static_cast<double>(*whole);
  return values[0].is<double>() ? values[0] : otherwise;
}

Value filter_abs(Runtime&, Arguments arguments) {
  const auto values = bind_arguments("abs", std::move(arguments), {"x"}, 1);
  if (const auto whole = values[0].integer()) {
    return *whole < 0 ? negate(Value(*whole)) : Value(*whole);
  }
  refuse_undefined(values[0]);
  const auto* number = values[0].get<double>();
  if (number == nullptr)
    throw Failure(fmt::format("bad operand type for abs(): '{}'", type_name(values[0])));
  return std::abs(*number);
}

// round(number, precision): of the decimal text that stands for exactly this double.
double rounded(double number, int64_t precision) {
  if (!std::isfinite(number) || precision > 300) return number;
  if (precision < -300) return std::copysign(0.0, number);
  if (precision >= 0) return std::stod(fmt::format("{:.{}f}", number, precision));
  const double unit = std::pow(10.0, static_cast<double>(-precision));
  const double scaled = number / unit;
  double whole = std::round(scaled);
  if (std::abs(scaled - whole) == 0.5) whole = 2.0 * std::round(scaled / 2.0);
  return whole * unit;
}

// round(number, precision) of an int stays one; half goes to the even neighbour.
int64_t rounded(int64_t number, int64_t precision) {
  if (precision >= 0) return number;
  if (precision < -18) return 0;
  int64_t unit = 1;
  for (int64_t i = 0; i < -precision; ++i) unit *= 10;
  int64_t quotient = number / unit;
  const int64_t rest = std::abs(number % unit);
  if (2 * rest > unit || (2 * rest == unit && quotient % 2 != 0)) quotient += number < 0 ? -1 : 1;
  int64_t result = 0;
  if (__builtin_mul_overflow(quotient, unit, &result)) {
    throw Failure("an integer does not fit 64 bits");
  }
  return result;
}

Value round_to_side(Runtime& runtime, const Value& value, int64_t precision, bool up) {
  const Value unit = operate(runtime, Operator::power, int64_t{10}, precision);
  const Value scaled = operate(runtime, Operator::multiply, value, unit);
  const auto whole = scaled.integer();
  double number = whole ? static_cast<double>(*whole) : *scaled.get<double>();
  number = up ? std::ceil(number) : std::floor(number);
  const auto result = truncated(number);
  if (!result) throw Failure("cannot convert float infinity or NaN to integer");
  return operate(runtime, Operator::divide, *result, unit);
}

Value filter_round(Runtime& runtime, Arguments arguments) {
  const auto values =
      bind_arguments("round", std::move(arguments), {"value", "precision", "method"}, 1);
  const int64_t precision = has(values[1]) ? int_argument("round", values[1]) : 0;
  const std::string method = has(values[2]) ? text_argument("round", values[2]).bytes : "common";
  if (method != "common" && method != "ceil" && method != "floor") {
    throw Failure("method must be common, ceil or floor");
  }
  refuse_undefined(values[0]);
  if (!values[0].number()) {
    throw Failure(fmt::format("type {} doesn't define __round__ method", type_name(values[0])));
  }
  if (method != "common") return round_to_side(runtime, values[0], precision, method == "ceil");
  if (const auto whole = values[0].integer()) return rounded(*whole, precision);
  return rounded(*values[0].get<double>(), precision);
}

Value filter_file_size(Runtime& runtime, Arguments arguments) {
  auto values = bind_arguments("filesizeformat", std::move(arguments), {"value", "binary"}, 1);
  refuse_undefined(values[0]);
  const bool binary = has(values[1]) && truth(runtime, values[1]);
  double bytes = 0;
  if (const Text* text = values[0].text()) {
    const auto number = parse_double(text->bytes);
    if (!number) throw Failure("could not convert string to float");
    bytes = *number;
  } else if (values[0].number()) {
    bytes =
        values[0].integer() ? static_cast<double>(*values[0].integer()) : *values[0].get<double>();
  } else {
    throw Failure("filesizeformat needs a number");
  }
  const double base = binary ? 1024 : 1000;
  if (bytes == 1) return Value("1 Byte");
  if (bytes < base) {
    const auto whole = truncated(bytes);
    if (!whole) throw Failure("cannot convert float infinity to integer");
    return Value(fmt::format("{} Bytes", *whole));
  }
  constexpr std::string_view kPrefixes = "kMGTPEZY";
  double unit = base * base;
  size_t i = 0;
  while (!(bytes < unit) && i + 1 < kPrefixes.size()) {
    unit *= base;
    ++i;
  }
  const std::string prefix = binary && i == 0 ? "K" : std::string(1, kPrefixes[i]);
  return Value(fmt::format("{:.1f} {}{}", base * bytes / unit, prefix, binary ? "iB" : "B"));
}

}  // namespace

Filter number_filter(std::string_view name) {
  static const std::map<std::string_view, Filter> kFilters = {{"abs", filter_abs},
                                                              {"filesizeformat", filter_file_size},
                                                              {"float", filter_float},
                                                              {"int", filter_int},
                                                              {"round", filter_round}};
  const auto found = kFilters.find(name);
  return found == kFilters.end() ? nullptr : found->second;
}

}  // namespace leash::jinja
