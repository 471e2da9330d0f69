// The table of well-formed byte sequences (Unicode 15, table 3-7), and a few character classes.
#include "models/tokenizer/utf8.h"

#include <c10/util/Exception.h>
#include <utf8proc.h>

#include <cstdint>
#include <cstdlib>
#include <memory>

namespace leash {
namespace {

struct LeadByte {
  size_t length;  // 0: no character begins so
  uint8_t low;    // range of the second byte
  uint8_t high;
};

LeadByte lead_byte(uint8_t b) {
  if (b < 0x80) return {1, 0, 0};
  if (b < 0xC2) return {0, 0, 0};
  if (b < 0xE0) return {2, 0x80, 0xBF};
  if (b == 0xE0) return {3, 0xA0, 0xBF};
  if (b == 0xED) return {3, 0x80, 0x9F};  // no surrogates
  if (b < 0xF0) return {3, 0x80, 0xBF};
  if (b == 0xF0) return {4, 0x90, 0xBF};
  if (b < 0xF4) return {4, 0x80, 0xBF};
  if (b == 0xF4) return {4, 0x80, 0x8F};  // up to U+10FFFF
  return {0, 0, 0};
}

// The last character of valid UTF-8 that is not empty.
Utf8Char last_char(std::string_view text) {
  size_t start = text.size() - 1;
  while (start > 0 && (static_cast<uint8_t>(text[start]) & 0xC0) == 0x80) --start;
  return first_char(text.substr(start));
}

size_t first_invalid(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    if (static_cast<uint8_t>(text[i]) < 0x80) {
      ++i;
      continue;
    }
    const Utf8Char c = first_char(text.substr(i));
    if (!c.valid) break;
    i += c.length;
  }
  return i;
}

}  // namespace

Utf8Char first_char(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const LeadByte lead = lead_byte(byte(0));
  if (lead.length == 1) return {byte(0), 1, true, false};
  if (lead.length == 0) return {0, 1, false, false};
  char32_t value = byte(0) & (0x7F >> lead.length);
  for (size_t i = 1; i < lead.length; ++i) {
    if (i == text.size()) return {0, i, false, true};
    const uint8_t low = i == 1 ? lead.low : 0x80;
    const uint8_t high = i == 1 ? lead.high : 0xBF;
    if (byte(i) < low || byte(i) > high) return {0, i, false, false};
    value = value << 6 | (byte(i) & 0x3F);
  }
  return {value, lead.length, true, false};
}

std::string_view replace_invalid(std::string_view text, std::string& storage) {
  size_t valid = first_invalid(text);
  if (valid == text.size()) return text;
  storage.clear();
  while (true) {
    storage += text.substr(0, valid);
    text.remove_prefix(valid);
    if (text.empty()) return storage;
    storage += kReplacementCharacter;
    text.remove_prefix(first_char(text).length);
    valid = first_invalid(text);
  }
}

bool is_white_space(char32_t c) {
  return (c >= 0x9 && c <= 0xD) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool is_word_character(char32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      // The joiners, and the symbols that are Alphabetic (circled and squared letters).
      return c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) ||
             (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
             (c >= 0x1F170 && c <= 0x1F189);
  }
}

size_t leading_white_space(std::string_view text) {
  size_t end = 0;
  while (end < text.size()) {
    const Utf8Char c = first_char(text.substr(end));
    if (!is_white_space(c.value)) break;
    end += c.length;
  }
  return end;
}

size_t trailing_white_space(std::string_view text) {
  size_t start = text.size();
  while (start > 0) {
    const Utf8Char c = last_char(text.substr(0, start));
    if (!is_white_space(c.value)) break;
    start -= c.length;
  }
  return text.size() - start;
}

bool starts_with_word(std::string_view text) {
  return !text.empty() && is_word_character(first_char(text).value);
}

bool ends_with_word(std::string_view text) {
  return !text.empty() && is_word_character(last_char(text).value);
}

std::string normalize_nfc(std::string_view text) {
  if (text.empty()) return {};
  utf8proc_uint8_t* result = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &result,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  TORCH_CHECK(size >= 0, "normalisation failed: ", utf8proc_errmsg(size));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(result, &std::free);
  return std::string(reinterpret_cast<const char*>(result), static_cast<size_t>(size));
}

}  // namespace leash
