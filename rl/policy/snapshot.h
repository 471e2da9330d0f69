// The state from which a loop over sampled answers goes on exactly where it stopped. Random draws
// have no state, so there is none to save.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "rl/policy/optimizers.h"
#include "rl/policy/roles.h"
#include "rl/reward/scale.h"

namespace leash {

struct PolicyState {
  int64_t step = 0;              // iterations done
  int64_t prompts_consumed = 0;  // the data cursor
  int64_t episodes = 0;          // answers so far
  double kl_coef = 0;            // the adaptive coefficient's value
  std::optional<int64_t> best_step;
  double best_reward = 0;
  std::vector<RunningMoments> reward_moments = {};  // of the sources that normalise
};

// adapter_model.safetensors and adapter_config.json (the policy, in PEFT's format, at the top so
// that other programs find it), critic.safetensors where there is one (head and adapter),
// reference.safetensors where it follows the policy, optimizer.safetensors, state.json.
void write_policy_snapshot(const std::filesystem::path& folder, const PolicyState& state,
                           const PolicyRoles& roles, const PolicyOptimizers& optimizers);

// Restores roles and optimizers in place. FormatError when the snapshot does not fit the recipe;
// ConfigError as check_environment.
PolicyState read_policy_snapshot(const std::filesystem::path& folder, PolicyRoles& roles,
                                 PolicyOptimizers& optimizers, bool allow_inexact,
                                 Console& console);

// Only the policy's adapter, and the reference's where it follows, for evaluation.
void read_policy(const std::filesystem::path& folder, PolicyRoles& roles);

}  // namespace leash
