// The pre-tokenizers of byte-level BPE that llama.cpp knows by a name (tokenizer.ggml.pre), in the
// words of tokenizer.json.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace leash {

struct PublishedPreTokenizer {
  std::string_view name;       // tokenizer.ggml.pre
  std::string_view steps;      // tokenizer.json's pre_tokenizer
  bool nfc = false;            // Hugging Face's tokenizer has the normalizer NFC (llama.cpp none)
  bool ignore_merges = false;  // a piece that is a token is not merged step by step
};

// By llama.cpp's name; nullptr where none is known here.
const PublishedPreTokenizer* pre_tokenizer_named(std::string_view name);

// By a tokenizer.json: the one that splits as its pre_tokenizer does. nullptr where none is known.
const PublishedPreTokenizer* pre_tokenizer_of(const nlohmann::json& tokenizer);

}  // namespace leash
