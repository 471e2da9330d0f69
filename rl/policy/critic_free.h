// What a task without a critic is besides its losses and advantages: the trainer and the held-out
// figures.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "rl/policy/evaluation.h"
#include "rl/policy/loop.h"
#include "rl/run/run_context.h"
#include "rl/run/task.h"

namespace leash {

// Policy, reference and reward. With `gathers`, all frozen weights are sharded.
inline PolicyRoles critic_free_roles(const PolicySetup& setup, const PolicyConfig& config,
                                     const std::shared_ptr<GatherQueue>& gathers = nullptr) {
  return load_policy_roles(setup, config, gathers,
                           [](const PolicyRoles&, Bases&) { return std::nullopt; });
}

// `policy_task(setup)` says what is the task's own; it may refer to the setup.
template <class Setup>
class CriticFreeTrainer {
 public:
  CriticFreeTrainer(Setup setup, const RunContext& context)
      : setup_(std::move(setup)),
        loop_(setup_, setup_.*TaskTraits<Setup>::section, policy_task(setup_),
              critic_free_roles(setup_, setup_.*TaskTraits<Setup>::section,
                                sharded_base(setup_.run, context.communicator)),
              context) {}

  // As PolicyLoop::train.
  RunOutcome train(const std::function<bool()>& interrupted) { return loop_.train(interrupted); }

 private:
  Setup setup_;
  PolicyLoop loop_;
};

}  // namespace leash
