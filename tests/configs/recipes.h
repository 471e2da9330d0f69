// Small recipes, and what is wrong with them.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "configs/experiment.h"
#include "models/errors.h"

namespace leash::testing {

// The least that a PPO recipe has to say; what is put behind it adds sections.
inline const std::string kLeast =
    "task: ppo\n"
    "data: {train: prompts.jsonl}\n"
    "reward: [{kind: function, name: length, parameters: {target: 5}}]\n";

using Lines = std::vector<std::string>;

inline Lines lines_of(const std::string& text) {
  Lines lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

inline PpoSetup setup_of(const std::string& yaml, const Lines& overrides = {},
                         const std::filesystem::path& folder = "/recipes") {
  return std::get<PpoSetup>(parse_experiment(yaml, "r.yaml", folder, overrides).experiment.setup);
}

inline Experiment experiment_of(const std::string& yaml, const Lines& overrides = {}) {
  return parse_experiment(yaml, "r.yaml", "/recipes", overrides).experiment;
}

// What the ConfigError says.
inline std::string error_of(const std::string& yaml, const Lines& overrides = {}) {
  try {
    experiment_of(yaml, overrides);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

// The lines of the ConfigError; empty when nothing is wrong.
inline Lines problems_of(const std::string& yaml, const Lines& overrides = {}) {
  try {
    parse_experiment(yaml, "r.yaml", "/recipes", overrides);
  } catch (const ConfigError& error) {
    return lines_of(error.what());
  }
  return {};
}

}  // namespace leash::testing
