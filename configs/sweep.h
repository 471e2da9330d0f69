// The runs of a sweep: one recipe, read once for each of its settings and seeds.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "configs/experiment.h"
#include "configs/sweep_config.h"

namespace leash {

struct SweepRun {
  std::string name;  // of its folder: "kl_coef=0.02_learning_rate=1e-4_seed=1"
  std::vector<std::pair<std::string, std::string>> settings{};  // path, value as it is written
  int64_t seed = 0;
  Experiment experiment{};
};

struct Sweep {
  SweepConfig config{};
  std::vector<SweepRun> runs{};         // settings in order, the seeds of each together
  std::vector<std::string> warnings{};  // each once
};

// What the command line says on top of the recipe's `sweep:` section.
struct SweepOptions {
  std::vector<std::string> grid{};  // "ppo.kl_coef=0.02,0.05"
  std::optional<int64_t> seeds{};
  std::optional<int64_t> jobs{};
};

// ConfigError lists everything that is wrong, in the section or in any run.
Sweep load_sweep(const std::filesystem::path& recipe, const std::vector<std::string>& overrides,
                 const SweepOptions& options);

// "0.02,[a, b],'x,y'" cut at the commas that stand in no brackets and no quotes.
std::vector<std::string> split_values(const std::string& text);

}  // namespace leash
