// The models of a PPO run besides its base, as a snapshot names them.
#pragma once

#include <map>
#include <string>

namespace leash {

struct PpoSetup;

// Fingerprints by role ("reference", "critic", "reward[0]") of what the run loads besides its base:
// checkpoints (with the form in which a reward model is kept) and frozen adapters.
// std::system_error when a file cannot be read.
std::map<std::string, std::string> second_models(const PpoSetup& setup);

}  // namespace leash
