// GPT-2's byte alphabet: printable Latin-1 stands for itself, other bytes for U+0100 onwards.
#include "models/text/byte_alphabet.h"

#include <cctype>
#include <cstdlib>

#include "models/text/utf8.h"

namespace leash {
namespace {

constexpr bool is_printable(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

std::string two_bytes_at_most(int c) {
  if (c < 0x80) return std::string(1, static_cast<char>(c));
  return {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 0x3F))};
}

}  // namespace

const std::array<std::string, 256>& byte_characters() {
  static const auto table = [] {
    std::array<std::string, 256> characters;
    int next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      characters[byte] = two_bytes_at_most(is_printable(byte) ? byte : next++);
    }
    return characters;
  }();
  return table;
}

std::optional<std::string> spelled_bytes(std::string_view spelling) {
  static const auto table = [] {
    std::array<int, 0x144> bytes;  // by character: 188 printable ones, then 68 from U+0100
    bytes.fill(-1);
    for (int byte = 0; byte < 256; ++byte) bytes[first_char(byte_characters()[byte]).value] = byte;
    return bytes;
  }();
  std::string result;
  while (!spelling.empty()) {
    const Utf8Char c = first_char(spelling);
    if (!c.valid || c.value >= table.size() || table[c.value] < 0) return std::nullopt;
    result += static_cast<char>(table[c.value]);
    spelling.remove_prefix(c.length);
  }
  return result;
}

std::string spelling_of_bytes(std::string_view bytes) {
  std::string spelling;
  for (const char byte : bytes) spelling += byte_characters()[static_cast<unsigned char>(byte)];
  return spelling;
}

std::optional<unsigned char> fallback_byte(std::string_view spelling) {
  const auto is_digit = [&](size_t i) {
    return std::isxdigit(static_cast<unsigned char>(spelling[i])) != 0;
  };
  if (spelling.size() != 6 || !spelling.starts_with("<0x") || !spelling.ends_with('>')) return {};
  if (!is_digit(3) || !is_digit(4)) return {};
  return static_cast<unsigned char>(
      std::strtoul(std::string(spelling.substr(3, 2)).c_str(), nullptr, 16));
}

std::string fallback_spelling(unsigned char byte) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  return {'<', '0', 'x', kDigits[byte >> 4], kDigits[byte & 15], '>'};
}

}  // namespace leash
