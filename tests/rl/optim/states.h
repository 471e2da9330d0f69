// What an optimizer saves, for tests that load it again.
#pragma once

#include "rl/optim/saved_state.h"

namespace leash::testing {

// In another order: names decide.
inline OptimizerState copy_of(const OptimizerState& state) {
  OptimizerState copy;
  for (auto entry = state.rbegin(); entry != state.rend(); ++entry) {
    copy.emplace_back(entry->first, entry->second.clone());
  }
  return copy;
}

}  // namespace leash::testing
