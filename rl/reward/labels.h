// Names of reward sources, and the columns that they read.
#pragma once

#include <string>
#include <vector>

#include "rl/reward/config.h"

namespace leash {

// The label of each source: its own, or its function's name or kind; equal ones get _2, _3, ….
std::vector<std::string> reward_labels(const std::vector<RewardConfig>& configs);

// Columns of the data that some source reads; `all` where a program or an endpoint gets them.
struct RewardColumns {
  bool all = false;
  std::vector<std::string> names = {};  // "a" as well for a.b
};
RewardColumns reward_columns(const std::vector<RewardConfig>& configs);

}  // namespace leash
