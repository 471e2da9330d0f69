// The `sweep:` section of a recipe: which runs `leash sweep` makes of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "configs/config_value.h"
#include "models/fields.h"
#include "models/limits.h"

namespace leash {

// Values of settings by their paths, as they were written: what they mean is known once they stand
// in a recipe.
struct SettingValues {
  ConfigValue value{};
};

struct SweepRandom {
  SettingValues settings;
  int64_t seed = 0;
};
template <class Config, class Visitor>
requires Describes<Config, SweepRandom>
void visit_fields(Config& c, Visitor&& visit) {
  visit("settings", c.settings,
        "by the path of a setting a list of values, or {min: A, max: B} with log: true for a "
        "uniform logarithm; whole numbers where both bounds are written as such");
  visit("seed", c.seed, "key of the draws", within(0, kMostSeed));
}

struct SweepStop {
  std::optional<std::string> metric;
  std::optional<int64_t> worse_than_median_after;
  bool lower_is_better = false;
};
template <class Config, class Visitor>
requires Describes<Config, SweepStop>
void visit_fields(Config& c, Visitor&& visit) {
  visit("metric", c.metric, "a metric of metrics.jsonl: eval/sampled/reward");
  visit("worse_than_median_after", c.worse_than_median_after,
        "from this step on, a run whose metric is worse than the median of all runs at the same "
        "step ends with a snapshot",
        at_least(0));
  visit("lower_is_better", c.lower_is_better, "of the metric, as with eval/loss");
}

struct SweepConfig {
  SettingValues grid;
  SettingValues list;
  SweepRandom random;
  std::optional<int64_t> budget;
  int64_t seeds = 1;
  int64_t jobs = 0;
  SweepStop stop;
};
template <class Config, class Visitor>
requires Describes<Config, SweepConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit("grid", c.grid,
        "by the path of a setting a list of its values: {ppo.kl_coef: [0.02, 0.05]}; every "
        "combination becomes a run");
  visit("list", c.list,
        "a list of maps from paths of settings to one value each; a run for each map (with `grid`: "
        "for each of its combinations)");
  visit("random", c.random, "settings drawn at random, `budget` times; not with grid or list");
  visit("budget", c.budget,
        "settings that are drawn at random; of a grid or list the most that may come out",
        at_least(1));
  visit("seeds", c.seeds, "runs of each setting: with run.seed, the next seed, and so on",
        within(1, 1000));
  visit("jobs", c.jobs, "runs alive at once (0: as far as memory allows)", within(0, 1000));
  visit("stop", c.stop, "when a run that loses ends early");
}

// In the docs' table of defaults; their own keys stand in tables of their own.
inline std::string flow_text(const SettingValues&) { return "{}"; }
inline std::string flow_text(const SweepRandom&) { return "{}"; }
inline std::string flow_text(const SweepStop&) { return "{}"; }

}  // namespace leash
