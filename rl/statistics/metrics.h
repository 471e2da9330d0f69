// Names and numbers of one step.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace leash {

// In the order in which they are written.
using Metrics = std::vector<std::pair<std::string, double>>;

}  // namespace leash
