// Where a trainer runs.
#pragma once

#include "rl/distributed/communicator.h"
#include "rl/run/console.h"
#include "rl/run/run_folder.h"

namespace leash {

// Everything outlives the trainer. `folder` is opened and locked; where it has a snapshot, the run
// goes on from it. All ranks make trainers with equal setups; rank 0 writes.
struct RunContext {
  RunFolder& folder;
  Communicator& communicator;
  Console& console;
  // Go on from a snapshot although what only bits depend on differs.
  bool allow_inexact = false;
};

}  // namespace leash
