// Held-out figures of a supervised run, for `leash evaluate`.
#pragma once

#include <optional>

#include "models/io/snapshot.h"
#include "rl/run/task.h"
#include "rl/sft/config.h"

namespace leash {

// Loss, perplexity and token accuracy. ConfigError without held-out data; FormatError.
TaskEvaluation evaluate_run(const SftSetup& setup, const std::optional<Snapshot>& snapshot);

}  // namespace leash
