// The models of a loop over sampled answers besides its base, as a snapshot names them.
#pragma once

#include <map>
#include <string>

#include "rl/policy/config.h"

namespace leash {

// Fingerprints by role ("reference", "reward[0]") of what the run loads besides its base:
// checkpoints (with the form in which a reward model is kept) and frozen adapters.
// FormatError when a file cannot be read.
std::map<std::string, std::string> second_models(const PolicySetup& setup);

}  // namespace leash
