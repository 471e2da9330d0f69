// What every task says about itself, once: reading recipes, training, evaluating and the docs go
// through it; rules (configs/checks.h) and plans (rl/plan/plan.h) are overloads for its setup. A
// new task specialises TaskTraits in its folder (task.h), adds its setup to the list in
// configs/tasks.h and a tiny recipe to tests/tasks/recipes.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace leash {

// For a setup `S`, the struct of what a recipe of the task says:
//   name          of the task (`task: name`) and of its own section
//   section       the member of S that is that section
//   Trainer       constructed from (S, RunContext); train(interrupted) gives a RunOutcome
//   several_roles whether models other than the one that trains take part
//   model_help, lora_help, data_help, section_help   for the docs (see configs/sections.h)
//   exports_best(setup)         whether adapter/ is the best snapshot's rather than the last one's
//   evaluate(setup, snapshot)   held-out figures of a snapshot (of the untrained model where there
//                               is none) as a TaskEvaluation
template <class Setup>
struct TaskTraits;

// Held-out figures, for people and for programs.
struct TaskEvaluation {
  std::string text;
  std::vector<nlohmann::ordered_json> lines;  // without the step, which the caller adds
};

// What such an evaluation says without held-out data.
inline constexpr const char* kNothingHeldOut =
    "data.eval: is missing (as is data.eval_split): there is nothing to evaluate on";

}  // namespace leash
