// The table of well-formed byte sequences (Unicode 15, table 3-7).
#include "models/text/utf8.h"

#include <cstdint>

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

Utf8Char last_char(std::string_view text) {
  size_t start = text.size() - 1;
  while (start > 0 && (static_cast<uint8_t>(text[start]) & 0xC0) == 0x80) --start;
  return first_char(text.substr(start));
}

void append_utf8(std::string& text, char32_t c) {
  if (c < 0x80) {
    text += static_cast<char>(c);
    return;
  }
  const int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
  text += static_cast<char>((0x780 >> more & 0xFF) | c >> (6 * more));
  for (int i = more - 1; i >= 0; --i) text += static_cast<char>(0x80 | (c >> (6 * i) & 0x3F));
}

bool is_valid_utf8(std::string_view text) { return first_invalid(text) == text.size(); }

size_t unfinished_bytes(std::string_view text) {
  for (size_t n = 1; n <= 3 && n <= text.size(); ++n) {
    const Utf8Char c = first_char(text.substr(text.size() - n));
    if (c.unfinished && c.length == n) return n;
  }
  return 0;
}

}  // namespace leash
