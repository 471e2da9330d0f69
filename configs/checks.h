// Rules that concern several settings at once, and settings that would have no effect: one pair of
// functions per task.
#pragma once

#include <string>
#include <vector>

#include "configs/problems.h"
#include "configs/tasks.h"

namespace leash {

// Adds to `problems` what contradicts itself, and what the user wrote to no effect.
void check(const PpoSetup& setup, const Written& written, Problems& problems);
void check(const SftSetup& setup, const Written& written, Problems& problems);
void check(const RewardSetup& setup, const Written& written, Problems& problems);
void check(const ClassificationSetup& setup, const Written& written, Problems& problems);
void check(const GrpoSetup& setup, const Written& written, Problems& problems);
void check(const RlooSetup& setup, const Written& written, Problems& problems);
void check(const ReinforceSetup& setup, const Written& written, Problems& problems);
void check(const DpoSetup& setup, const Written& written, Problems& problems);

// What is allowed but probably not meant.
std::vector<std::string> warnings(const PpoSetup& setup, const Written& written);
std::vector<std::string> warnings(const GrpoSetup& setup, const Written& written);
std::vector<std::string> warnings(const RlooSetup& setup, const Written& written);
std::vector<std::string> warnings(const ReinforceSetup& setup, const Written& written);
template <class Setup>
std::vector<std::string> warnings(const Setup& /*setup*/, const Written& /*written*/) {
  return {};
}

}  // namespace leash
