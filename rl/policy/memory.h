// Who holds memory in a loop over sampled answers, and what to lower where it does not suffice.
#pragma once

#include <string>
#include <vector>

#include "models/device/out_of_memory.h"
#include "rl/policy/config.h"
#include "rl/policy/roles.h"

namespace leash {

// Weights of every role, and what trains with its gradients; a base that roles share counts once.
std::vector<MemoryUse> memory_uses(const PolicyRoles& roles);
// The same while `prompts` are answered: with the keys and values of all that decode together.
std::vector<MemoryUse> memory_uses(const PolicyRoles& roles, const PolicySetup& setup,
                                   const std::vector<Prompt>& prompts);

// Settings with their values, those first that the phase depends on most. `rows` is the one for the
// size of a pass, e.g. "ppo.micro_batch_tokens (512)".
enum class PolicyPhase { sampling, scoring, update };
std::vector<std::string> settings_to_lower(const PolicySetup& setup, const std::string& rows,
                                           PolicyPhase phase);

}  // namespace leash
