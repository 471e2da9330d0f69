// leash config: what a recipe says, whether it is right, and what can be set.
#include <fmt/format.h>

#include <iostream>
#include <string>
#include <vector>

#include "configs/experiment.h"
#include "configs/suggest.h"
#include "experiments/cli/commands.h"
#include "experiments/cli/options.h"
#include "experiments/cli/recipe.h"
#include "models/errors.h"

namespace leash::cli {
namespace {

namespace po = boost::program_options;

constexpr CommandHelp kHelp{
    "config", "(show | check) RECIPE [--set a.b=c]…  |  leash config docs",
    "show: the recipe with all settings as they would be in effect. check: exit code 2 and every\n"
    "problem with its line, or nothing. docs: the table of all settings, as in docs/configs.md.",
    "  leash config show configs/recipes/demo.yaml --set ppo.kl_coef=0.1\n"
    "  leash config check my.yaml"};

}  // namespace

int config(const Arguments& args) {
  po::options_description options("Options");
  add_recipe_options(options);
  const auto values = parse_options(kHelp, options, {"action", "recipe"}, args);
  if (!values) return 0;
  const std::string action = given<std::string>(*values, "action").value_or("");
  if (action == "docs") {
    std::cout << settings_markdown();
  } else if (action == "show") {
    std::cout << resolved_yaml(load_recipe(*values));
  } else if (action == "check") {
    load_recipe(*values);
  } else {
    const std::vector<std::string> known = {"show", "check", "docs"};
    throw ConfigError(
        fmt::format("`leash config` takes show, check or docs{}{} (see `leash config --help`)",
                    action.empty() ? "" : ", not `" + action + "`", did_you_mean(action, known)));
  }
  return 0;
}

}  // namespace leash::cli
