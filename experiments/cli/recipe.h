// What train, evaluate and config share: a recipe on the command line, with what is set on top.
#pragma once

#include <boost/program_options/options_description.hpp>
#include <boost/program_options/variables_map.hpp>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "configs/experiment.h"

namespace leash::cli {

// --set, --dtype, --threads.
void add_recipe_options(boost::program_options::options_description& options);

// Loads the recipe that the positional option "recipe" names; prints warnings on standard error, if
// this process says them.
// ConfigError when it is missing or wrong. `otherwise`: the recipe where none is named.
Experiment load_recipe(const boost::program_options::variables_map& values,
                       bool says_warnings = true,
                       const std::optional<std::filesystem::path>& otherwise = std::nullopt);

// resolved.yaml of a run; empty where there is none.
std::string read_resolved(const std::filesystem::path& run_dir);

// What this recipe has differently from a run's resolved.yaml, a line each; nothing where there is
// no such file.
std::vector<std::string> changed_since(const std::filesystem::path& run_dir,
                                       const Experiment& experiment);

}  // namespace leash::cli
