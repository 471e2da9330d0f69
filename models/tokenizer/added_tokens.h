// Special and added tokens: found in text before anything else looks at it.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "models/tokenizer/byte_range.h"

namespace leash {

// The fields are those of tokenizer.json's added_tokens.
struct AddedToken {
  std::string content;
  int64_t id = 0;
  bool special = false;      // left out of text when decoding with skip_special
  bool single_word = false;  // not inside a word
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // and behind it
  bool normalized = true;    // looked for in normalised text
};

class AddedTokenMatcher {
 public:
  AddedTokenMatcher() { starts_.fill(false); }
  explicit AddedTokenMatcher(std::vector<AddedToken> tokens);

  struct Part {
    std::string_view text;
    const AddedToken* token = nullptr;  // null: text between tokens
  };
  // Cuts valid UTF-8 at the tokens, leftmost first, the longest of those that begin there. Special
  // ones that overlap `plain` are no tokens.
  std::vector<Part> split(std::string_view text, std::span<const ByteRange> plain = {}) const;
  bool has_special() const;

 private:
  struct Found {
    size_t begin = 0;
    size_t end = 0;
    const AddedToken* token = nullptr;
  };
  Found find(std::string_view text, size_t from, std::span<const ByteRange> plain) const;

  std::vector<AddedToken> tokens_;
  std::array<bool, 256> starts_;
  // A trie: (node << 8 | byte) to node; node to the token that ends there, or -1.
  std::unordered_map<uint64_t, uint32_t> edges_;
  std::vector<int64_t> ends_{-1};
};

}  // namespace leash
