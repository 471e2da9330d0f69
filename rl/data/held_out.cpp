#include "rl/data/held_out.h"

#include <fmt/format.h>

#include <cmath>

#include "models/errors.h"
#include "models/random/random.h"

namespace leash {

std::vector<bool> draw_held_out(int64_t total, double part, uint64_t seed, const char* name) {
  const auto count = static_cast<int64_t>(std::ceil(part * static_cast<double>(total)));
  if (count >= total) {
    throw FormatError(
        fmt::format("data.eval_split: {} of {} {} leave none to train on", part, total, name));
  }
  const auto order = draw_permutation({.seed = seed, .purpose = Purpose::evaluation}, total);
  std::vector<bool> held(static_cast<size_t>(total), false);
  for (int64_t i = 0; i < count; ++i) held[static_cast<size_t>(order[i])] = true;
  return held;
}

}  // namespace leash
