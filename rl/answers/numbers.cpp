#include "rl/answers/numbers.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "rl/answers/number_scanner.h"

namespace leash {
namespace {

constexpr std::pair<std::string_view, std::string_view> kSpellings[] = {
    {"\xE2\x88\x92", "-"},  // U+2212
    {"{,}", ","},
    {"\\,", ""},
    {"\\!", ""},
    {"\\;", ""},
    {"\\%", "%"},
    {"\\$", "$"},
    {"\xC3\x97", "\\times "},  // ×
    {"\xE2\x88\x9A", "\\sqrt "},
    {"\xCF\x80", "\\pi "}};
constexpr std::string_view kSuperscripts[] = {
    "\xE2\x81\xB0", "\xC2\xB9",     "\xC2\xB2",     "\xC2\xB3",     "\xE2\x81\xB4",
    "\xE2\x81\xB5", "\xE2\x81\xB6", "\xE2\x81\xB7", "\xE2\x81\xB8", "\xE2\x81\xB9"};
constexpr std::string_view kSuperscriptMinus = "\xE2\x81\xBB";

// The superscript character that `text` begins with as one of the line; empty where it is none.
std::pair<size_t, char> superscript(std::string_view text) {
  if (text.starts_with(kSuperscriptMinus)) return {kSuperscriptMinus.size(), '-'};
  for (size_t digit = 0; digit < std::size(kSuperscripts); ++digit) {
    if (!text.starts_with(kSuperscripts[digit])) continue;
    return {kSuperscripts[digit].size(), static_cast<char>('0' + digit)};
  }
  return {0, ' '};
}

// One spelling for what means the same.
std::string one_spelling(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    if (superscript(text).first > 0) {
      result += "^{";
      for (auto found = superscript(text); found.first > 0; found = superscript(text)) {
        result += found.second;
        text.remove_prefix(found.first);
      }
      result += '}';
      continue;
    }
    const auto* known = std::ranges::find_if(
        kSpellings, [&](const auto& spelling) { return text.starts_with(spelling.first); });
    if (known != std::end(kSpellings)) {
      result += known->second;
      text.remove_prefix(known->first.size());
    } else {
      result += text.front();
      text.remove_prefix(1);
    }
  }
  return result;
}

}  // namespace

NumbersInText numbers_in(std::string_view text, const NumberRules& rules) {
  const std::string spelled = one_spelling(text);
  return scan_numbers(spelled, rules);
}

std::optional<FoundNumber> only_number(std::string_view text, const NumberRules& rules) {
  NumbersInText found = numbers_in(text, rules);
  if (found.numbers.size() != 1 || found.expression) return std::nullopt;
  return std::move(found.numbers[0]);
}

bool equal_numbers(const FoundNumber& a, const FoundNumber& b, double tolerance) {
  if (tolerance == 0 && !a.digits.empty() && !b.digits.empty()) return a.digits == b.digits;
  constexpr double kRounding = 4 * std::numeric_limits<double>::epsilon();
  const double largest = std::max(std::abs(a.value), std::abs(b.value));
  return std::abs(a.value - b.value) <= tolerance + kRounding * largest;
}

}  // namespace leash
