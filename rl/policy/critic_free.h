// What a task without a critic is besides its losses and advantages: the trainer, the held-out
// figures and its row.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "models/io/snapshot.h"
#include "rl/policy/evaluate_run.h"
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

// What the rows of these tasks have in common. `kSection` is the setup's member with the task's
// settings; a row adds its name and section_help.
template <class Setup, auto kSection>
struct CriticFreeTraits {
  using Trainer = CriticFreeTrainer<Setup>;
  static constexpr auto section = kSection;
  static constexpr bool several_roles = true;
  static constexpr std::string_view model_help = "the frozen base that every role shares";
  static constexpr std::string_view lora_help =
      "what trains: low-rank updates of the base (names and meaning are PEFT's)";
  static constexpr std::string_view data_help = "prompts";

  static bool exports_best(const Setup&) { return true; }
  static TaskEvaluation evaluate(const Setup& setup, const std::optional<Snapshot>& snapshot) {
    return evaluate_policy(
        setup, setup.*kSection, [&setup] { return critic_free_roles(setup, setup.*kSection); },
        snapshot);
  }
};

}  // namespace leash
