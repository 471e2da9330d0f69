#include "experiments/cli/recipe.h"

#include <fmt/format.h>

#include <iostream>
#include <string>
#include <vector>

#include "configs/yaml_source.h"
#include "experiments/cli/options.h"
#include "models/errors.h"
#include "models/printable.h"

namespace leash::cli {

namespace po = boost::program_options;

void add_recipe_options(po::options_description& options) {
  auto add = options.add_options();
  add("set", po::value<std::vector<std::string>>()->value_name("A.B=C")->composing(),
      "a setting over what the recipe says (repeatable)");
  add("dtype", po::value<std::string>()->value_name("TYPE"), "short for --set model.dtype=TYPE");
  add("quantize", po::value<std::string>()->value_name("HOW"),
      "short for --set model.quantize=HOW");
  add("threads", po::value<int64_t>()->value_name("N"), "short for --set run.threads=N");
}

Experiment load_recipe(const po::variables_map& values, bool says_warnings,
                       const std::optional<std::filesystem::path>& otherwise) {
  std::optional<std::filesystem::path> recipe = otherwise;
  if (const auto named = given<std::string>(values, "recipe")) recipe = *named;
  if (!recipe) throw ConfigError("a recipe is missing (configs/recipes/ has some)");
  auto overrides = given<std::vector<std::string>>(values, "set").value_or(Arguments{});
  if (const auto dtype = given<std::string>(values, "dtype")) {
    overrides.push_back("model.dtype=" + *dtype);
  }
  if (const auto quantize = given<std::string>(values, "quantize")) {
    overrides.push_back("model.quantize=" + *quantize);
  }
  if (const auto threads = given<int64_t>(values, "threads")) {
    overrides.push_back(fmt::format("run.threads={}", *threads));
  }
  LoadedExperiment loaded = load_experiment(*recipe, overrides);
  for (const std::string& warning : loaded.warnings) {
    if (says_warnings) std::cerr << "leash: warning: " << printable_lines(warning) << "\n";
  }
  return std::move(loaded.experiment);
}

std::string read_resolved(const std::filesystem::path& run_dir) {
  const std::filesystem::path resolved = run_dir / "resolved.yaml";
  return std::filesystem::is_regular_file(resolved) ? read_recipe_text(resolved) : "";
}

std::vector<std::string> changed_since(const std::filesystem::path& run_dir,
                                       const Experiment& experiment) {
  const std::string before = read_resolved(run_dir);
  if (before.empty()) return {};
  return changed_settings(before, resolved_yaml(experiment));
}

}  // namespace leash::cli
