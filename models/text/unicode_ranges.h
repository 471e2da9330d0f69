// Classes of characters as Hugging Face's tokenizers have them, whose tables are of several Unicode
// versions: what later versions added is in none of them.
#pragma once

namespace leash {

bool is_punctuation(char32_t c);      // of Punctuation and BertPreTokenizer
bool is_combining_mark(char32_t c);   // what StripAccents removes
bool is_nonspacing_mark(char32_t c);  // what BertNormalizer removes as accents
bool is_control(char32_t c);          // what BertNormalizer removes as no text
// What the normalisation forms leave as it is, though newer Unicode decomposes it.
bool is_canonically_whole(char32_t c);  // NFC, NFD
bool is_compatibly_whole(char32_t c);   // NFKC, NFKD

}  // namespace leash
