#include "configs/scalars.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <cmath>
#include <type_traits>

#include "configs/suggest.h"
#include "models/limits.h"

namespace leash {
namespace {

template <class T>
std::optional<T> parse_whole(std::string_view text) {
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool is_plain(std::string_view text) {
  const auto allowed = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '/' || c == '.' ||
           c == '-';
  };
  if (text.empty() || text.front() == '-' || text == "null" || text == "Null" || text == "NULL") {
    return false;
  }
  return std::all_of(text.begin(), text.end(), allowed) && !parse_number(text) &&
         !parse_boolean(text);
}

}  // namespace

std::optional<int64_t> parse_integer(std::string_view text) {
  std::string digits;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool separator = text[i] == '_' && i > 0 && i + 1 < text.size() &&
                           std::isdigit(static_cast<unsigned char>(text[i - 1])) != 0 &&
                           std::isdigit(static_cast<unsigned char>(text[i + 1])) != 0;
    if (!separator) digits += text[i];
  }
  return parse_whole<int64_t>(digits);
}

std::optional<double> parse_number(std::string_view text) {
  const auto value = parse_whole<double>(text);
  return value && std::isfinite(*value) ? value : std::nullopt;
}

template <class T>
std::string_view beyond_type(std::string_view text) {
  T value{};
  if (text.starts_with('+')) text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc::result_out_of_range || end != text.data() + text.size()) return "";
  return std::is_same_v<T, double> ? "is beyond what a number can hold (2.2e-308 to 1.8e308)"
                                   : "is beyond what a whole number can hold";
}
template std::string_view beyond_type<int64_t>(std::string_view text);
template std::string_view beyond_type<double>(std::string_view text);

std::optional<bool> parse_boolean(std::string_view text) {
  if (text == "true") return true;
  if (text == "false") return false;
  return std::nullopt;
}

std::string number_text(double value) { return fmt::format("{}", value); }

std::string yaml_string(std::string_view text) {
  if (is_plain(text)) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (c == '\n') {
      quoted += "\\n";
    } else if (c == '\t') {
      quoted += "\\t";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      quoted += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

Range integer_range(Range range) {
  constexpr auto kMost = static_cast<double>(kMostOfAnything);
  if (!std::isfinite(range.max)) range.max = kMost;
  if (!std::isfinite(range.min)) range.min = -kMost;
  return range;
}

std::optional<std::string> range_problem(double value, const Range& range) {
  const bool low = range.min_open ? value > range.min : value >= range.min;
  const bool high = range.max_open ? value < range.max : value <= range.max;
  if (low && high) return std::nullopt;
  std::vector<std::string> rules;
  if (std::isfinite(range.min)) {
    rules.push_back(fmt::format("{} {}", range.min_open ? "above" : "at least", range.min));
  }
  if (std::isfinite(range.max)) {
    rules.push_back(fmt::format("{} {}", range.max_open ? "below" : "at most", range.max));
  }
  return fmt::format("has to be {}, not {}", fmt::join(rules, " and "), value);
}

std::string range_text(const Range& range) {
  const bool low = std::isfinite(range.min);
  const bool high = std::isfinite(range.max);
  if (low && high) {
    return fmt::format("{} {} … {} {}", range.min_open ? ">" : "≥", range.min,
                       range.max_open ? "<" : "≤", range.max);
  }
  if (low) return fmt::format("{} {}", range.min_open ? ">" : "≥", range.min);
  if (high) return fmt::format("{} {}", range.max_open ? "<" : "≤", range.max);
  return "";
}

std::string choice_problem(const std::string& described, std::string_view written,
                           const std::vector<std::string>& choices) {
  return fmt::format("has to be one of {}, not {}{}", fmt::join(choices, ", "), described,
                     did_you_mean(written, choices));
}

}  // namespace leash
