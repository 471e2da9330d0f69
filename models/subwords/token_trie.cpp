// Built level by level from the sorted spellings.
#include "models/subwords/token_trie.h"

#include <fmt/core.h>

#include <algorithm>
#include <deque>

#include "models/errors.h"

namespace leash {
namespace {

// The entries below one node, all of which begin with the same `depth` bytes.
struct OpenRange {
  uint32_t node;
  size_t begin, end, depth;
};

}  // namespace

TokenTrie::TokenTrie(std::vector<Entry> entries) {
  for (const Entry& entry : entries) {
    if (entry.spelling.size() <= kMaxTokenBytes) continue;
    throw FormatError(fmt::format("the token with id {} has {} bytes; at most {} are supported",
                                  entry.value, entry.spelling.size(), kMaxTokenBytes));
  }
  std::ranges::stable_sort(entries, {}, &Entry::spelling);
  std::deque<OpenRange> open{{0, 0, entries.size(), 0}};
  while (!open.empty()) {
    const OpenRange range = open.front();
    open.pop_front();
    size_t i = range.begin;
    while (i < range.end && entries[i].spelling.size() == range.depth) {
      nodes_[range.node].value = entries[i++].value;
    }
    nodes_[range.node].first_child = static_cast<uint32_t>(nodes_.size());
    while (i < range.end) {
      const char byte = entries[i].spelling[range.depth];
      size_t end = i + 1;
      while (end < range.end && entries[end].spelling[range.depth] == byte) ++end;
      const auto node = static_cast<uint32_t>(nodes_.size());
      nodes_.push_back({.byte = static_cast<uint8_t>(byte)});
      ++nodes_[range.node].num_children;
      if (range.node == 0) roots_[static_cast<uint8_t>(byte)] = node;
      open.push_back({node, i, end, range.depth + 1});
      i = end;
    }
  }
}

}  // namespace leash
