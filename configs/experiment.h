// A whole recipe: what one YAML file says, with `--set` on top, checked as a whole.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "configs/tasks.h"

namespace leash {

struct Experiment {
  TaskSetup setup = {};

  // The `run:` section, which every task has.
  const RunConfig& run() const;
};

struct LoadedExperiment {
  Experiment experiment{};
  std::vector<std::string> warnings{};  // for the user; the run goes on
};

// Reads a recipe with overrides ("ppo.kl_coef=0.1"). ConfigError lists everything that is wrong,
// each with file and line, or that the file cannot be read.
LoadedExperiment load_experiment(const std::filesystem::path& recipe,
                                 const std::vector<std::string>& overrides = {});
// The same from text; relative paths belong to `folder`.
LoadedExperiment parse_experiment(const std::string& text, const std::string& origin,
                                  const std::filesystem::path& folder,
                                  const std::vector<std::string>& overrides = {});

// resolved.yaml: every setting that the task reads, as it is in effect, with absolute paths.
// Reading it gives an equal experiment.
std::string resolved_yaml(const Experiment& experiment);

// docs/configs.md: a table per section.
std::string settings_markdown();

// Lines "ppo.total_episodes: 640 -> 1280" for settings in which two resolved recipes differ.
std::vector<std::string> changed_settings(const std::string& resolved_before,
                                          const std::string& resolved_after);

// ConfigError where the resolved.yaml of an earlier part of a run holds a setting that means
// something else today. `origin` names the file.
void check_meanings(const std::string& resolved, const std::string& origin);

}  // namespace leash
