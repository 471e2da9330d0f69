// The parts of reading a recipe that a sweep and a single run share.
#pragma once

#include <cstdint>
#include <string>

#include "configs/binder.h"
#include "configs/config_value.h"
#include "configs/experiment.h"
#include "configs/problems.h"
#include "configs/sweep_config.h"

namespace leash {

inline void read_value(const ConfigValue& value, SettingValues& into, const std::string&,
                       const Range&, ReadContext) {
  into.value = value;
}

// Takes `sweep` out of the tree: it is no section of any task.
SweepConfig take_sweep(ConfigValue& root, Problems& problems);

// A recipe whose overrides are in the tree already, with `seed_offset` added to run.seed.
// ConfigError with `problems` and what else is wrong.
LoadedExperiment bind_experiment(ConfigValue root, int64_t seed_offset, Problems& problems);

}  // namespace leash
