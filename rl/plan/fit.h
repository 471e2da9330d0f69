// What fits into a given memory.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "rl/plan/plan.h"

namespace leash {

struct Fit {
  int64_t memory_bytes = 0;
  bool fits = false;                      // the plan as it is
  std::optional<std::string> known = {};  // the largest of known_models() that fits
  int64_t known_peak_bytes = 0;
  // The most layers of the planned model's widths; nullopt where its file's blocks are kept (what
  // another number of layers would take is not known) and where the recipe names single layers.
  std::optional<int64_t> layers = {};
  int64_t layers_parameters = 0;
};

// `plan` gives the plan of the same recipe for another model. It may throw ConfigError for a model
// that the recipe does not fit; that one is passed over.
Fit fit_into(int64_t memory_bytes, const ModelFacts& model, bool keeps_blocks,
             const std::function<Plan(const ModelFacts&)>& plan);

}  // namespace leash
