// What a run needs before it is started: parameters, memory by role and by phase, and what the
// ranks send each other. Pure arithmetic over a recipe and a model's facts; nothing is allocated.
// docs/operating/plan.md states the assumptions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "rl/classification/config.h"
#include "rl/dpo/config.h"
#include "rl/grpo/config.h"
#include "rl/plan/model_facts.h"
#include "rl/ppo/setup.h"
#include "rl/reinforce/config.h"
#include "rl/reward_model/config.h"
#include "rl/rloo/config.h"
#include "rl/sft/config.h"

namespace leash {

// One thing that takes memory on every rank.
struct PlanItem {
  std::string name;
  int64_t bytes = 0;
  std::string note = "";
};

// What a phase of a step holds besides that which is always there.
struct PlanPhase {
  std::string name;
  std::vector<PlanItem> items = {};
  int64_t bytes() const;
};

// What each rank says to the others in one step (PPO: one iteration).
struct PlanTransfer {
  std::string name;
  int64_t calls = 0;          // collectives a step
  int64_t message_bytes = 0;  // what a rank puts into one of them
  double sent_bytes = 0;      // what a rank sends in a step, all calls together
  std::string note = "";
};

struct Plan {
  std::string task;
  std::string step = "step";  // what transfers are counted in: an optimizer step, or an iteration
  int64_t ranks = 1;
  int64_t base_parameters = 0;
  int64_t all_parameters = 0;  // as PEFT counts them
  int64_t trainable_parameters = 0;
  int64_t micro_batch_rows = 0;  // of the largest pass with gradients
  std::vector<PlanItem> resident = {};
  std::vector<PlanPhase> phases = {};
  std::vector<PlanTransfer> transfers = {};
  int64_t mapped_bytes = 0;  // pages of the model's files; the system takes them back when it must

  int64_t resident_bytes() const;
  // The phase that needs most (one of `phases`).
  const PlanPhase& largest() const;
  int64_t peak_bytes() const;  // of the largest phase, without mapped files
  double sent_bytes() const;
};

struct PlanOptions {
  int64_t ranks = 1;
  // Tokens of the longest prompt (PPO), sample (sft) or answer with its prompt (reward, dpo);
  // absent: the longest that the recipe allows.
  std::optional<int64_t> longest = {};
};

// `model` stands for what model.path names. ConfigError and FormatError as in a run, for what can
// be told without reading weights.
Plan plan_of(const PpoSetup& setup, const ModelFacts& model, const PlanOptions& options);
Plan plan_of(const SftSetup& setup, const ModelFacts& model, const PlanOptions& options);
Plan plan_of(const RewardSetup& setup, const ModelFacts& model, const PlanOptions& options);
Plan plan_of(const ClassificationSetup& setup, const ModelFacts& model, const PlanOptions& options);
Plan plan_of(const GrpoSetup& setup, const ModelFacts& model, const PlanOptions& options);
Plan plan_of(const RlooSetup& setup, const ModelFacts& model, const PlanOptions& options);
Plan plan_of(const ReinforceSetup& setup, const ModelFacts& model, const PlanOptions& options);
Plan plan_of(const DpoSetup& setup, const ModelFacts& model, const PlanOptions& options);

// A process before it has loaded anything: LibTorch's libraries, tokenizer, heaps of the threads.
inline constexpr int64_t kProcessBytes = 250'000'000;

}  // namespace leash
