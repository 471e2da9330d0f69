// A reward that the user's own program computes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "rl/judges/persistent.h"
#include "rl/reward/config.h"
#include "rl/reward/source.h"

namespace leash {

struct CommandOptions {
  std::string command;
  std::filesystem::path folder = {};  // the program's working folder; empty: ours
  CommandMode mode = CommandMode::per_batch;
  double timeout_seconds = kRewardTimeoutSeconds;  // of one batch
  int64_t max_restarts = kRewardRestarts;          // of a persistent program
  bool ids = false;                                // it gets tokens as well
  std::string label = "command";                   // in the name of its log
};

// The program gets a JSON line for each answer on its standard input (sample_json.h) and prints one
// finite number per line in the same order (replies.h).
//   per_batch   a shell runs it for every batch; its input ends behind the last answer
//   persistent  it is started once; each line also has "index", from 0 on, and "count", so that a
//               program which scores many at a time knows when it has the whole batch
// What it says on standard error goes to our own, or to the log. Throws std::runtime_error when it
// fails, takes too long or prints something else, and whatever it started ends with it (see
// run_program and PersistentProgram).
class CommandReward final : public RewardSource {
 public:
  explicit CommandReward(CommandOptions options);
  explicit CommandReward(std::string command, double timeout_seconds = kRewardTimeoutSeconds)
      : CommandReward(
            CommandOptions{.command = std::move(command), .timeout_seconds = timeout_seconds}) {}
  std::vector<double> score(const std::vector<RewardSample>& samples) const override;
  // Its log is reward-<label>.log there, and of other ranks than the first
  // reward-<label>-rank-N.log.
  void keep_logs_in(const std::filesystem::path& folder, int64_t rank) const override;

 private:
  // With where to look, what the program said last.
  std::string complaint(const std::string& what) const;

  CommandOptions options_;
  std::unique_ptr<std::mutex> mutex_ = std::make_unique<std::mutex>();  // of what follows
  mutable ProgramPlace place_;
  std::unique_ptr<PersistentProgram> persistent_;
};

}  // namespace leash
