// Held-out figures of a PPO run, for `leash evaluate`.
#pragma once

#include <optional>

#include "models/io/snapshot.h"
#include "rl/ppo/setup.h"
#include "rl/run/task.h"

namespace leash {

// Reward, exact KL from the reference, perplexity under it and answers, greedy and sampled: a line
// of JSON each. ConfigError without data.eval; FormatError.
TaskEvaluation evaluate_run(const PpoSetup& setup, const std::optional<Snapshot>& snapshot);

}  // namespace leash
