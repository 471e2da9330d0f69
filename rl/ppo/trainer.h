// PPO with a KL leash: the loop over sampled answers with a critic.
#pragma once

#include <functional>

#include "rl/policy/loop.h"
#include "rl/ppo/setup.h"
#include "rl/run/run_context.h"

namespace leash {

class PpoTrainer {
 public:
  PpoTrainer(PpoSetup setup, const RunContext& context);

  // As PolicyLoop::train.
  RunOutcome train(const std::function<bool()>& interrupted) { return loop_.train(interrupted); }

 private:
  PpoSetup setup_;
  PolicyLoop loop_;
};

}  // namespace leash
