// A part of a text.
#pragma once

#include <cstddef>

namespace leash {

// Bytes [begin, end).
struct ByteRange {
  size_t begin = 0;
  size_t end = 0;

  bool overlaps(size_t from, size_t to) const { return begin < to && from < end; }
  bool operator==(const ByteRange&) const = default;
};

}  // namespace leash
