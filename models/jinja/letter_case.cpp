// Upper, lower and title case as Python's str has them.
#include <utf8proc.h>

#include <algorithm>

#include "models/jinja/special_casing.h"
#include "models/jinja/text.h"

namespace leash::jinja {
namespace {

constexpr char32_t kSigma = 0x3A3;
constexpr char32_t kFinalSigma = 0x3C2;

utf8proc_int32_t code(char32_t c) { return static_cast<utf8proc_int32_t>(c); }

const SpecialCase* special_case(char32_t c) {
  if (c < 0x80) return nullptr;
  const auto* found = std::ranges::lower_bound(kSpecialCasing, c, {}, &SpecialCase::character);
  return found != std::end(kSpecialCasing) && found->character == c ? found : nullptr;
}

// Unicode's Case_Ignorable, as far as its categories say it.
bool is_case_ignorable(char32_t c) {
  switch (utf8proc_category(code(c))) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      return c == '\'' || c == '.' || c == ':' || c == 0xB7 || c == 0x2018 || c == 0x2019 ||
             c == 0x2024 || c == 0x2027;
  }
}

// A sigma at the end of a word is written otherwise (Unicode's Final_Sigma).
bool is_final_sigma(const std::vector<char32_t>& chars, size_t at) {
  size_t before = at;
  while (before > 0 && is_case_ignorable(chars[before - 1])) --before;
  if (before == 0 || !is_cased(chars[before - 1])) return false;
  size_t behind = at + 1;
  while (behind < chars.size() && is_case_ignorable(chars[behind])) ++behind;
  return behind == chars.size() || !is_cased(chars[behind]);
}

}  // namespace

std::string to_upper(std::string_view text) {
  std::string result;
  for (size_t at = 0; at < text.size();) {
    const char32_t c = next_char(text, at);
    if (const SpecialCase* special = special_case(c)) {
      result += special->upper;
    } else {
      append_char(result, static_cast<char32_t>(utf8proc_toupper(code(c))));
    }
  }
  return result;
}

std::string lower_of(const std::vector<char32_t>& chars, size_t at) {
  if (chars[at] == 0x130) return "i\xCC\x87";
  std::string result;
  const bool ends = chars[at] == kSigma && is_final_sigma(chars, at);
  append_char(result,
              ends ? kFinalSigma : static_cast<char32_t>(utf8proc_tolower(code(chars[at]))));
  return result;
}

std::string to_lower(std::string_view text) {
  std::string result;
  const std::vector<char32_t> chars = chars_of(text);
  for (size_t i = 0; i < chars.size(); ++i) result += lower_of(chars, i);
  return result;
}

std::string to_title(std::string_view one_char) {
  size_t at = 0;
  const char32_t c = next_char(one_char, at);
  if (const SpecialCase* special = special_case(c)) return special->title;
  std::string result;
  append_char(result, static_cast<char32_t>(utf8proc_totitle(code(c))));
  return result;
}

bool is_lower_char(char32_t c) {
  return utf8proc_category(code(c)) == UTF8PROC_CATEGORY_LL || utf8proc_islower(code(c)) != 0;
}
bool is_upper_char(char32_t c) {
  return utf8proc_category(code(c)) == UTF8PROC_CATEGORY_LU || utf8proc_isupper(code(c)) != 0;
}
bool is_title_char(char32_t c) { return utf8proc_category(code(c)) == UTF8PROC_CATEGORY_LT; }
bool is_cased(char32_t c) { return is_lower_char(c) || is_upper_char(c) || is_title_char(c); }

bool is_printable_char(char32_t c) {
  switch (utf8proc_category(code(c))) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    case UTF8PROC_CATEGORY_ZS:
      return c == ' ';
    default:
      return true;
  }
}

}  // namespace leash::jinja
