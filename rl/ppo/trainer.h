// PPO with a KL leash: sample, judge, shape, update, log — one loop.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "rl/data/prompts.h"
#include "rl/distributed/communicator.h"
#include "rl/policy/evaluation.h"
#include "rl/policy/roles.h"
#include "rl/policy/snapshot.h"
#include "rl/ppo/setup.h"
#include "rl/ppo/update.h"
#include "rl/run/console.h"
#include "rl/run/good_snapshots.h"
#include "rl/run/run_context.h"
#include "rl/run/run_parts.h"

namespace leash {

class PpoTrainer {
 public:
  PpoTrainer(PpoSetup setup, const RunContext& context);

  // Runs until done or interrupted (on any rank; asked between steps). Throws NonFinite after
  // naming the last good snapshot.
  RunOutcome train(const std::function<bool()>& interrupted);

 private:
  Metrics iterate();
  Metrics probe();
  void evaluate_and_log(class RunLog& log, Metrics& metrics);
  Snapshot save();
  void export_adapter();
  std::string compare_with_start() const;

  int64_t num_steps() const;
  int64_t exported_step() const { return state_.best_step.value_or(state_.step); }
  bool evaluates_after(int64_t step) const;
  LearningRates learning_rates(int64_t step) const;

  PpoSetup setup_;
  RunFolder& folder_;
  Communicator& communicator_;
  Console& console_;
  PolicyRoles roles_;
  PolicyOptimizers optimizers_;
  Lanes lanes_;
  std::vector<PromptRecord> prompts_;
  std::vector<PromptRecord> held_out_;
  PolicyState state_;
  GoodSnapshots snapshots_;
};

}  // namespace leash
