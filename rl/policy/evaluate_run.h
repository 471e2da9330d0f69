// Held-out figures of a run over sampled answers, for `leash evaluate`.
#pragma once

#include <functional>
#include <optional>

#include "models/io/snapshot.h"
#include "rl/policy/config.h"
#include "rl/policy/roles.h"
#include "rl/run/task.h"

namespace leash {

// Reward, exact KL from the reference, perplexity under it and answers, greedy and sampled: a line
// of JSON each. `load` is asked for the roles when there is something to evaluate on. ConfigError
// without data.eval; FormatError.
TaskEvaluation evaluate_policy(const PolicySetup& setup, const PolicyConfig& config,
                               const std::function<PolicyRoles()>& load,
                               const std::optional<Snapshot>& snapshot);

}  // namespace leash
