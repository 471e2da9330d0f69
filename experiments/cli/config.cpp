// leash config: what a recipe says, whether it is right, and what can be set.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <iostream>
#include <string>
#include <variant>
#include <vector>

#include "configs/experiment.h"
#include "configs/suggest.h"
#include "experiments/cli/commands.h"
#include "experiments/cli/options.h"
#include "experiments/cli/recipe.h"
#include "models/errors.h"
#include "models/io/checkpoint.h"
#include "rl/data/line_reader.h"
#include "rl/plan/plan.h"

namespace leash::cli {
namespace {

namespace po = boost::program_options;

constexpr CommandHelp kConfigHelp{
    "config", "(show | check) RECIPE [--set a.b=c]…  |  leash config docs",
    "show: the recipe with all settings as they would be in effect. check: exit code 2 and every\n"
    "problem with its line, or nothing; the model's headers and data files have to be there. docs: "
    "the table of all settings, as in docs/configs.md.",
    "  leash config show configs/recipes/demo.yaml --set ppo.kl_coef=0.1\n"
    "  leash config check my.yaml"};

// What a recipe refers to, as far as reading headers tells: data files, the model, and what LoRA
// addresses in it.
template <class Setup>
void check_files(const Setup& setup) {
  std::vector<std::string> problems;
  const auto try_to = [&problems](const auto& what) {
    try {
      what();
    } catch (const std::exception& error) {
      problems.emplace_back(error.what());
    }
  };
  const auto must_exist = [&](const std::string& name, const std::filesystem::path& file) {
    if (!std::filesystem::exists(file)) {
      problems.push_back(fmt::format("{}: {} does not exist", name, file.string()));
    } else {
      try_to([&] { const LineReader opened(file); });
    }
  };
  must_exist("data.train", setup.data.train);
  if (setup.data.eval) must_exist("data.eval", *setup.data.eval);
  try_to([&] {
    (void)plan_of(setup, facts_of(open_checkpoint(resolve_model(setup.model.path))), {});
  });
  if (!problems.empty()) throw ConfigError(fmt::format("{}", fmt::join(problems, "\n")));
}

}  // namespace

int config(const Arguments& args) {
  po::options_description options("Options");
  add_recipe_options(options);
  const auto values = parse_options(kConfigHelp, options, {"action", "recipe"}, args);
  if (!values) return 0;
  const std::string action = given<std::string>(*values, "action").value_or("");
  if (action == "docs") {
    std::cout << settings_markdown();
  } else if (action == "show") {
    std::cout << resolved_yaml(load_recipe(*values));
  } else if (action == "check") {
    const Experiment experiment = load_recipe(*values);
    std::visit([](const auto& setup) { check_files(setup); }, experiment.setup);
  } else {
    const std::vector<std::string> known = {"show", "check", "docs"};
    throw ConfigError(
        fmt::format("`leash config` takes show, check or docs{}{} (see `leash config --help`)",
                    action.empty() ? "" : ", not `" + action + "`", did_you_mean(action, known)));
  }
  return 0;
}

}  // namespace leash::cli
