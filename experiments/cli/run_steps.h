// What `leash train` and `leash sweep` do around a trainer.
#pragma once

#include <boost/program_options/variables_map.hpp>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "configs/experiment.h"
#include "rl/run/run_context.h"
#include "rl/training/memory.h"

namespace leash::cli {

// runs/<recipe>-<time>, or what stands between them.
std::filesystem::path new_run_dir(const std::filesystem::path& recipe, std::string_view infix = "");

std::string shell_quoted(const std::string& word);
// The recipe and all that was set on top of it, as it stands behind the command's name.
std::string recipe_arguments(const boost::program_options::variables_map& values);

template <class Setup>
std::unique_ptr<typename TaskTraits<Setup>::Trainer> make_trainer(const Setup& setup,
                                                                  const RunContext& context) {
  using Traits = TaskTraits<Setup>;
  return explaining_memory(
      "loading the models", [] { return std::vector<MemoryUse>{}; },
      [&] { return settings_to_lower(setup.model, setup.run, Traits::several_roles); },
      [&] { return std::make_unique<typename Traits::Trainer>(setup, context); });
}

// What run.export asks for, in place of what an earlier part of the run left there; a line for the
// user on each.
std::vector<std::string> export_at_end(const Experiment& experiment,
                                       const std::filesystem::path& folder);

}  // namespace leash::cli
