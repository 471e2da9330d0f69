// A critic as a folder: `critic/` beside a run's `adapter/`, where another run's critic may start.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "rl/policy/critic.h"

namespace leash {

// All that a critic trains, under names of their own: its adapter's keys, and "head".
std::vector<std::pair<std::string, at::Tensor>> critic_tensors(const Critic& critic);

// A critic with LoRA as an adapter with a score head, which is what `task: reward` writes too: it
// reads as a reward model and in PEFT. Any other as critic.safetensors, with its kind in the
// metadata. `base_model` becomes base_model_name_or_path.
void save_critic(const std::filesystem::path& folder, const Critic& critic,
                 const std::string& base_model);

// Starts the critic where such a folder ends; LoRA's rank, alpha and targets are then the folder's.
// ConfigError where the folder holds a critic of another kind; FormatError where it holds none, or
// belongs to another base.
void start_critic(const std::filesystem::path& folder, Critic& critic);

}  // namespace leash
