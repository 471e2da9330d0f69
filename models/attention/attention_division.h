// How the backward pass of fused attention is split, and where its units put gradients that several
// of them add to. Internal to models/attention/fused_attention*.cpp.
#pragma once

#include <cstdint>
#include <vector>

#include "models/attention/attention_source.h"

namespace leash {

constexpr int64_t kQueries = 64;  // rows of a block, over which gradients of keys are summed

// Rows up to a whole vector.
inline int64_t padded(int64_t rows) {
  return attention_tiles::pieces_of(rows, attention_tiles::kLanes) * attention_tiles::kLanes;
}

// Where units put gradients of keys that several of them add to, and who adds to a sequence's.
struct SharedSums {
  struct Part {
    int64_t offset = 0;  // in memory: of each key head keys, then values
    int64_t rows = 0;    // the first of the sequence, and zeros up to a whole vector
  };
  std::vector<std::vector<Part>> parts;  // by sequence, in the order of addition
  int64_t size = 0;
};

// A unit, and where its sums are in SharedSums' memory; -1: it writes them itself.
struct BackwardUnit : AttentionUnit {
  int64_t own_sums = -1;
  int64_t prefix_sums = -1;
};

struct Division {
  std::vector<BackwardUnit> units;
  SharedSums sums;
};

// The same whatever the number of threads, since it decides what is added to what first.
Division divide(const std::vector<SequenceRows>& places, const AttentionSource& source);

}  // namespace leash
