// What the names in a GGUF's tokenizer.ggml.pre stand for: the pre-tokenizers of published
// tokenizer.json files, or llama.cpp's where it knows no such file (llama.cpp: llama-vocab.cpp).
#pragma once

#include <string>

#include "models/text/pre_tokenizer.h"

namespace leash {

struct NamedPreTokenizer {
  PreTokenizer pre_tokenizer;
  bool ignore_merges = false;  // a whole word that is a token is one, whatever the merges say
  bool add_bos = false;        // unless tokenizer.ggml.add_bos_token says otherwise
  bool nfc = false;            // text is normalised first
  bool raw = false;            // tokens are spelled as text, not in GPT-2's alphabet
  bool escape_spaces = false;  // with U+2581 for a space
};

// FormatError for a name that is not known.
NamedPreTokenizer named_pre_tokenizer(const std::string& name);

}  // namespace leash
