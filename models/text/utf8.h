// UTF-8 read one character at a time, with Python's idea of what errors="replace" does.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace leash {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

struct Utf8Char {
  char32_t value = 0;  // meaningless unless valid
  size_t length = 0;   // bytes of the character, or those that one U+FFFD stands for
  bool valid = false;
  bool unfinished = false;  // the text ends inside what could still become a character
};

// The character at the start of `text`, which must not be empty.
Utf8Char first_char(std::string_view text);
// The last one of valid UTF-8 that is not empty.
Utf8Char last_char(std::string_view text);

void append_utf8(std::string& text, char32_t c);

// Calls f(char32_t, its bytes as a string_view) for each character of valid UTF-8.
template <class F>
void for_each_char(std::string_view text, const F& f) {
  while (!text.empty()) {
    const Utf8Char c = first_char(text);
    f(c.value, text.substr(0, c.length));
    text.remove_prefix(c.length);
  }
}

// `text` itself when it is valid UTF-8; otherwise a copy in `storage` with U+FFFD for each maximal
// part that is not (Unicode 15, section 3.9), as Python and Rust replace.
std::string_view replace_invalid(std::string_view text, std::string& storage);
bool is_valid_utf8(std::string_view text);
// How many bytes at the end of `text` may become a character when more bytes come.
size_t unfinished_bytes(std::string_view text);

}  // namespace leash
