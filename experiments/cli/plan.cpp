// leash plan: what a recipe needs, before anything is allocated.
#include <fmt/format.h>

#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <variant>

#include "configs/experiment.h"
#include "experiments/cli/commands.h"
#include "experiments/cli/options.h"
#include "experiments/cli/output.h"
#include "experiments/cli/plan_text.h"
#include "experiments/cli/recipe.h"
#include "models/errors.h"
#include "models/limits.h"

namespace leash::cli {
namespace {

namespace po = boost::program_options;

constexpr int64_t kMostRanks = 1 << 20;
constexpr double kMostGib = 1 << 20;

constexpr CommandHelp kPlanHelp{
    "plan", "RECIPE.yaml [--set a.b=c]… [--ranks N] [--memory GIB] [--model-config FILE] [--json]",
    "What a run would need, by arithmetic alone: parameters, memory of each rank by role and by "
    "phase, what\nthe ranks send each other, and the largest model that fits. Of a model only the "
    "headers are read; with\n--model-config its config.json is enough. docs/operating/plan.md "
    "states the assumptions.",
    "  leash plan configs/recipes/demo.yaml\n"
    "  leash plan configs/recipes/demo.yaml --longest 64 --ranks 8 --memory 24\n"
    "  leash plan configs/recipes/sft_tutorial.yaml --model-config experiments/plan/"
    "llama-3.1-70b.json --set model.quantize=nf4"};

po::options_description plan_options() {
  po::options_description options("Options");
  add_recipe_options(options);
  auto add = options.add_options();
  add("ranks", po::value<int64_t>()->value_name("N"), "processes (default: 1)");
  add("memory", po::value<double>()->value_name("GIB"),
      "what each rank has: does the plan fit, and what would?");
  add("longest", po::value<int64_t>()->value_name("TOKENS"),
      "the longest prompt (ppo), sample (sft) or answer with its prompt (reward) in the data "
      "(default: the longest that the recipe allows)");
  add("model-config", po::value<std::string>()->value_name("FILE"),
      "plan for this config.json instead of model.path");
  add("json", po::bool_switch(), "one JSON line on standard output");
  return options;
}

struct Request {
  PlanOptions plan;
  std::optional<double> memory_gib;
};

Request read_request(const po::variables_map& values) {
  Request request;
  request.plan.ranks = given<int64_t>(values, "ranks").value_or(1);
  request.plan.longest = given<int64_t>(values, "longest");
  request.memory_gib = given<double>(values, "memory");
  const double gib = request.memory_gib.value_or(1.0);
  OptionProblems problems;
  problems.require(
      request.plan.ranks >= 1 && request.plan.ranks <= kMostRanks,
      fmt::format("--ranks has to be between 1 and {}, not {}", kMostRanks, request.plan.ranks));
  const int64_t longest = request.plan.longest.value_or(1);
  problems.require(longest >= 1 && longest <= kMostOfAnything,
                   fmt::format("--longest has to be at least 1 and at most {}, not {}",
                               kMostOfAnything, longest));
  problems.require(
      std::isfinite(gib) && gib > 0 && gib <= kMostGib,
      fmt::format("--memory has to be above 0 and at most {} GiB, not {}", kMostGib, gib));
  problems.check();
  return request;
}

ModelFacts model_of(const po::variables_map& values, const ModelConfig& config) {
  if (const auto file = given<std::string>(values, "model-config")) return read_model_config(*file);
  return facts_of(open_checkpoint(resolve_model(config.path)));
}

}  // namespace

int plan(const Arguments& args) {
  const auto values = parse_options(kPlanHelp, plan_options(), {"recipe"}, args);
  if (!values) return 0;
  const Request request = read_request(*values);
  const Experiment experiment = load_recipe(*values);
  std::visit(
      [&](const auto& setup) {
        const ModelFacts model = model_of(*values, setup.model);
        const auto plan_for = [&](const ModelFacts& other) {
          return plan_of(setup, other, request.plan);
        };
        const Plan made = plan_for(model);
        std::optional<Fit> fit;
        if (request.memory_gib) {
          fit = fit_into(static_cast<int64_t>(*request.memory_gib * (int64_t{1} << 30)), model,
                         setup.model.quantize == Quantize::keep, plan_for);
        }
        if ((*values)["json"].template as<bool>()) {
          print_json_line(plan_json(made, model, fit));
        } else {
          std::cout << plan_text(made, model, fit);
          if (!request.plan.longest) {
            std::cout << "\nfor data as long as the recipe allows; --longest N plans for what your "
                         "data has\n";
          }
        }
      },
      experiment.setup);
  return 0;
}

}  // namespace leash::cli
