#include "models/tokenizer/base64.h"

#include <cstdint>

#include "models/errors.h"

namespace leash {
namespace {

int base64_value(char c) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const size_t value = kAlphabet.find(c);
  if (value == std::string_view::npos) {
    throw FormatError("precompiled_charsmap is no text in base 64");
  }
  return static_cast<int>(value);
}

}  // namespace

std::string bytes_of_base64(std::string_view text) {
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string bytes;
  bytes.reserve(text.size() * 3 / 4);
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    bits = bits << 6 | static_cast<uint32_t>(base64_value(c));
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes += static_cast<char>(bits >> count);
  }
  return bytes;
}

}  // namespace leash
