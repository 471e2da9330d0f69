// Which adapter the rows of a packed batch go through, and the place of their dropout masks.
#pragma once

#include <cstdint>
#include <vector>

namespace leash {

class Adapter;

// Which adapter each row goes through. Ranges cover consecutive rows from 0 on; rows past the last
// range go through none.
struct AdapterRows {
  struct Range {
    const Adapter* adapter = nullptr;  // nullptr: the base alone
    int64_t num_rows = -1;             // -1: all that are left
  };
  std::vector<Range> ranges;

  AdapterRows() = default;              // the base alone for all rows
  AdapterRows(const Adapter* adapter);  // NOLINT: one adapter (or none) for all rows
  AdapterRows(const Adapter& adapter) : AdapterRows(&adapter) {}  // NOLINT
};

// The random place of dropout masks; absent: no dropout (generation, scoring, PPO).
struct DropoutKey {
  uint64_t seed = 0;
  uint64_t step = 0;
  std::vector<uint64_t> samples;  // one id per sequence of the packed batch
};

}  // namespace leash
