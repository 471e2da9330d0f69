// SentencePiece's precompiled rules of normalisation: a double array (Darts) from byte sequences to
// their replacements (sentencepiece: src/normalizer.cc, EncodePrecompiledCharsMap).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace leash {

class Charsmap {
 public:
  // The blob: the array's bytes (u32), its units (u32 each, little-endian), then replacements that
  // end with a zero byte each. FormatError when it is cut off.
  explicit Charsmap(std::string_view blob);

  struct Match {
    size_t length = 0;  // bytes of text
    std::string_view replacement;
  };
  // The shortest, and the longest rule that `text` begins with.
  std::optional<Match> shortest(std::string_view text) const;
  std::optional<Match> longest(std::string_view text) const;

 private:
  template <class F>
  void for_each_prefix(std::string_view text, const F& f) const;
  std::string_view replacement(uint32_t offset) const;

  std::vector<uint32_t> units_;
  std::string replacements_;
};

// What Hugging Face's Precompiled makes of valid UTF-8: rules are looked for at the start of each
// short grapheme cluster, which is then replaced as a whole, else of each character.
std::string apply_precompiled(const Charsmap& rules, std::string_view text);

}  // namespace leash
