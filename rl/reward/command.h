// A reward that the user's own program computes.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "rl/reward/source.h"

namespace leash {

// Runs `command` in a shell for every batch, in the working folder of this process. The program
// gets a JSON line for each answer on its standard input, {"prompt": …, "answer": …, "ended": …},
// and prints one finite number per line in the same order; what it says on standard error goes to
// ours. Throws std::runtime_error when it fails, takes longer than `timeout_seconds` or prints
// something else, and whatever it started ends with it (see run_program).
class CommandReward final : public RewardSource {
 public:
  explicit CommandReward(std::string command, double timeout_seconds = kRewardTimeoutSeconds)
      : command_(std::move(command)), timeout_seconds_(timeout_seconds) {}
  std::vector<double> score(const std::vector<RewardSample>& samples) const override;

 private:
  std::string command_;
  double timeout_seconds_;
};

// What such a program printed: `count` finite decimal numbers, each alone on its line.
// std::runtime_error says what was printed instead.
std::vector<double> parse_scores(std::string_view output, size_t count);

}  // namespace leash
