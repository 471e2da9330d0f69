// Who holds memory on a device, and what to lower where it does not suffice: for the message of
// OutOfMemory.
#pragma once

#include <string>
#include <vector>

#include "models/out_of_memory.h"
#include "rl/ppo_roles.h"
#include "rl/run_config.h"
#include "rl/training_parts.h"

namespace leash {

// Weights of every role, and what trains with its gradients; a base that roles share counts once.
std::vector<MemoryUse> memory_uses(const PpoRoles& roles);
std::vector<MemoryUse> memory_uses(const TrainedModel& model);
// The same while `prompts` are answered: with the keys and values of all that decode together.
std::vector<MemoryUse> memory_uses(const PpoRoles& roles, const PpoSetup& setup,
                                   const std::vector<Prompt>& prompts);

// Settings with their values, those first that the phase depends on most.
enum class PpoPhase { sampling, scoring, update };
std::vector<std::string> settings_to_lower(const PpoSetup& setup, PpoPhase phase);
std::vector<std::string> settings_to_lower(const TrainingConfig& config);
// While models are loaded.
std::vector<std::string> settings_to_lower(const ModelConfig& model, const RunConfig& run,
                                           bool several_roles);

}  // namespace leash
