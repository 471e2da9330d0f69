// The table of well-formed byte sequences (Unicode 15, table 3-7), and a few character classes.
#include "models/tokenizer/utf8.h"

#include <c10/util/Exception.h>
#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <vector>

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

constexpr auto kComposed = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);

bool is_ascii(char c) { return static_cast<uint8_t>(c) < 0x80; }

// The canonical decomposition, character by character.
std::vector<utf8proc_int32_t> decomposed(std::string_view text) {
  constexpr utf8proc_ssize_t kMost = 32;  // of one character; Unicode's longest is 4
  std::vector<utf8proc_int32_t> chars;
  chars.reserve(text.size());
  while (!text.empty()) {
    const Utf8Char c = first_char(text);
    utf8proc_int32_t parts[kMost];
    const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c.value), parts, kMost,
                                               kComposed, nullptr);
    TORCH_CHECK(count >= 0 && count <= kMost, "normalisation failed: ", utf8proc_errmsg(count));
    chars.insert(chars.end(), parts, parts + count);
    text.remove_prefix(c.length);
  }
  return chars;
}

// Marks behind one letter by their class (Unicode's canonical ordering). utf8proc's own exchanges
// neighbours, which for thousands of marks takes minutes.
void order_marks(std::vector<utf8proc_int32_t>& chars) {
  const auto mark = [](utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; };
  for (auto begin = chars.begin(); begin != chars.end();) {
    begin = std::find_if(begin, chars.end(), [&](auto c) { return mark(c) != 0; });
    const auto end = std::find_if(begin, chars.end(), [&](auto c) { return mark(c) == 0; });
    std::stable_sort(begin, end, [&](auto a, auto b) { return mark(a) < mark(b); });
    begin = end;
  }
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
  if (std::ranges::all_of(text, is_ascii)) return std::string(text);
  std::vector<utf8proc_int32_t> chars = decomposed(text);
  order_marks(chars);
  const auto size = utf8proc_normalize_utf32(
      chars.data(), static_cast<utf8proc_ssize_t>(chars.size()), kComposed);
  TORCH_CHECK(size >= 0, "normalisation failed: ", utf8proc_errmsg(size));
  std::string result;
  for (utf8proc_ssize_t i = 0; i < size; ++i) {
    utf8proc_uint8_t bytes[4];
    const auto length = utf8proc_encode_char(chars[static_cast<size_t>(i)], bytes);
    result.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(length));
  }
  return result;
}

}  // namespace leash
