// Classes of characters that pre-tokenizers and added tokens go by.
#pragma once

#include <cstddef>
#include <string_view>

namespace leash {

// Unicode's White_Space, and what regular expressions call a word character.
bool is_white_space(char32_t c);
bool is_word_character(char32_t c);
// Nd, Nl and No.
bool is_numeric(char32_t c);
// Ideographs that BertNormalizer puts between spaces.
bool is_ideograph(char32_t c);

// How many bytes of white space `text` begins or ends with; `text` is valid UTF-8.
size_t leading_white_space(std::string_view text);
size_t trailing_white_space(std::string_view text);
// Whether the character next to the start or end of `text` is a word character.
bool starts_with_word(std::string_view text);
bool ends_with_word(std::string_view text);

}  // namespace leash
