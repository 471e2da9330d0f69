// Texts of the tiny model's ids.
#pragma once

#include <cstdint>
#include <vector>

#include "models/decoder/heads.h"
#include "models/random/random.h"

namespace leash::testing {

inline std::vector<int64_t> random_ids(uint64_t seed, int64_t length) {
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < length; ++i) {
    ids.push_back(draw_bits({seed, Purpose::noise}, static_cast<uint64_t>(i)) % 96);
  }
  return ids;
}

// As a batch.
inline std::vector<std::vector<int64_t>> alone(const std::vector<int64_t>& ids) { return {ids}; }

inline LinearHead value_head() {
  return {.weight = normal_tensor({5, Purpose::noise}, {1, 32}, 0, 1)};
}

}  // namespace leash::testing
