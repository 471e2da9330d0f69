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

// `text` itself when it is valid UTF-8; otherwise a copy in `storage` with U+FFFD for each maximal
// part that is not (Unicode 15, section 3.9), as Python and Rust replace.
std::string_view replace_invalid(std::string_view text, std::string& storage);

// Unicode's White_Space, and what regular expressions call a word character.
bool is_white_space(char32_t c);
bool is_word_character(char32_t c);

// How many bytes of white space `text` begins or ends with; `text` is valid UTF-8.
size_t leading_white_space(std::string_view text);
size_t trailing_white_space(std::string_view text);
// Whether the character next to the start or end of `text` is a word character.
bool starts_with_word(std::string_view text);
bool ends_with_word(std::string_view text);

// Unicode's normalisation form C of valid UTF-8.
std::string normalize_nfc(std::string_view text);

}  // namespace leash
