// Which tokens a text begins with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace leash {

// The longest token that may be looked for at every place of a text: work grows with the text times
// this, and no real vocabulary has one half as long.
inline constexpr size_t kMaxTokenBytes = 4096;

class TokenTrie {
 public:
  struct Entry {
    std::string_view spelling;  // read while building only
    int32_t value = 0;          // not negative
  };

  TokenTrie() = default;
  // FormatError when a spelling is longer than kMaxTokenBytes. Of equal spellings the last counts.
  explicit TokenTrie(std::vector<Entry> entries);

  // Calls f(length, value) for every entry that `text` begins with, the shortest first.
  template <class F>
  void for_each_prefix(std::string_view text, const F& f) const {
    uint32_t node = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      node = child(node, static_cast<uint8_t>(text[i]));
      if (node == 0) return;
      if (nodes_[node].value >= 0) f(i + 1, nodes_[node].value);
    }
  }

  struct Match {
    size_t length = 0;  // 0: none
    int32_t value = -1;
  };
  Match longest(std::string_view text) const {
    Match match;
    for_each_prefix(text, [&](size_t length, int32_t value) { match = {length, value}; });
    return match;
  }

 private:
  struct Node {
    uint32_t first_child = 0;  // children lie side by side, in the order of their bytes
    int32_t value = -1;
    uint16_t num_children = 0;
    uint8_t byte = 0;
  };

  // 0: there is none (the root is nobody's child).
  uint32_t child(uint32_t node, uint8_t byte) const {
    if (node == 0) return roots_[byte];
    uint32_t low = nodes_[node].first_child;
    uint32_t high = low + nodes_[node].num_children;
    while (low < high) {
      const uint32_t middle = (low + high) / 2;
      if (nodes_[middle].byte == byte) return middle;
      if (nodes_[middle].byte < byte) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return 0;
  }

  std::vector<Node> nodes_{Node{}};
  std::vector<uint32_t> roots_ = std::vector<uint32_t>(256, 0);  // the root's children by byte
};

}  // namespace leash
