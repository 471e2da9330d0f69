// One character at a time, whatever the bytes are.
#include "models/printable.h"

#include <fmt/format.h>

#include <cstdint>

namespace leash {
namespace {

struct Character {
  char32_t value = 0;
  size_t length = 1;
  bool valid = false;
};

// The character at the start of `text`, or one byte that begins none.
Character first_of(std::string_view text) {
  const auto lead = static_cast<uint8_t>(text[0]);
  if (lead < 0x80) return {lead, 1, true};
  const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || length > text.size()) return {};
  char32_t value = lead & (0x7F >> length);
  for (size_t i = 1; i < length; ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    if ((byte & 0xC0) != 0x80) return {};
    value = value << 6 | (byte & 0x3F);
  }
  constexpr char32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};  // by length
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (value < kLeast[length] || value > 0x10FFFF || surrogate) return {};
  return {value, length, true};
}

bool is_between(char32_t c, char32_t first, char32_t last) { return c >= first && c <= last; }

// What a terminal obeys instead of showing it.
bool is_control(char32_t c) {
  return c < 0x20 || is_between(c, 0x7F, 0x9F) || c == 0x61C || c == 0xFEFF ||
         is_between(c, 0x200E, 0x200F) || is_between(c, 0x2028, 0x202E) ||
         is_between(c, 0x2066, 0x2069);
}

std::string escaped(char32_t c) {
  if (c == '\n') return "\\n";
  if (c == '\t') return "\\t";
  if (c == '\r') return "\\r";
  const auto number = static_cast<uint32_t>(c);
  return number < 0x100 ? fmt::format("\\x{:02x}", number) : fmt::format("\\u{:04x}", number);
}

}  // namespace

std::string printable(std::string_view text, size_t most) {
  std::string result;
  for (size_t count = 0; !text.empty(); ++count) {
    if (count == most) return result + "…";
    const Character c = first_of(text);
    if (!c.valid) {
      result += escaped(static_cast<uint8_t>(text[0]));
    } else if (is_control(c.value)) {
      result += escaped(c.value);
    } else {
      result += text.substr(0, c.length);
    }
    text.remove_prefix(c.length);
  }
  return result;
}

std::string printable_lines(std::string_view text, size_t most) {
  std::string result;
  while (true) {
    const size_t end = text.find('\n');
    result += printable(text.substr(0, end), most);
    if (end == std::string_view::npos) return result;
    result += '\n';
    text.remove_prefix(end + 1);
  }
}

}  // namespace leash
