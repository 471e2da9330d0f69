// Cutting text into the words inside which a byte-level BPE merges.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/tokenizer/regex_split.h"

namespace leash {

class PreTokenizer {
 public:
  // Splits every part that the earlier steps left.
  void add_split(Splitter splitter) { steps_.push_back({std::move(splitter), false}); }
  // A space in front of every part that does not begin with one.
  void add_prefix_space() { steps_.push_back({std::nullopt, true}); }

  // The words of `text` (valid UTF-8), in order; they point into it or into `storage`.
  std::vector<std::string_view> split(std::string_view text,
                                      std::deque<std::string>& storage) const;

 private:
  struct Step {
    std::optional<Splitter> splitter;
    bool prefix_space = false;
  };
  std::vector<Step> steps_;
};

// GPT-2's split, which tokenizer.json's ByteLevel uses.
Splitter gpt2_splitter();
// tokenizer.json's Digits.
Splitter digits_splitter(bool individual);

// What the names in a GGUF's tokenizer.ggml.pre stand for.
struct NamedPreTokenizer {
  PreTokenizer pre_tokenizer;
  bool ignore_merges = false;  // a whole word that is a token is one, whatever the merges say
  bool add_bos = false;        // unless tokenizer.ggml.add_bos_token says otherwise
  bool nfc = false;            // text is normalised first
};
// FormatError for a name that is not known.
NamedPreTokenizer named_pre_tokenizer(const std::string& name);

}  // namespace leash
