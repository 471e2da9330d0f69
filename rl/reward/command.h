// A reward that the user's own program computes.
#pragma once

#include <string>
#include <vector>

#include "rl/reward/source.h"

namespace leash {

// Runs `command` in a shell for every batch, in the working folder of this process. The program
// gets a JSON line for each answer on its standard input, {"prompt": …, "answer": …, "ended": …},
// and prints one finite number per line in the same order; what it says on standard error goes to
// ours. Throws std::runtime_error when it fails, or prints something else.
class CommandReward final : public RewardSource {
 public:
  explicit CommandReward(std::string command) : command_(std::move(command)) {}
  std::vector<double> score(const std::vector<RewardSample>& samples) const override;

 private:
  std::string command_;
};

}  // namespace leash
