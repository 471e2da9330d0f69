// Which step's policy a run ends with: the best by held-out reward within best_max_kl.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "rl/policy/evaluation.h"
#include "rl/policy/snapshot.h"
#include "rl/run/console.h"

namespace leash {

// Takes the step as the best so far if its sampled answers say so.
void consider(const Evaluation& sampled, int64_t step, std::optional<double> max_kl,
              PolicyState& state);

// On resuming, when the bound may be another one: the best among the snapshots up to state.step
// whose evaluations are there; says on the console when it is another one. Unchanged where the
// evaluation or the snapshot of the best so far is gone. `section` is the task's ("ppo").
void choose_best_again(const std::filesystem::path& run_dir, std::optional<double> max_kl,
                       const std::string& section, PolicyState& state, Console& console);

}  // namespace leash
