#include "rl/plan/fit.h"

#include <algorithm>

#include "models/errors.h"
#include "rl/plan/known_models.h"

namespace leash {
namespace {

constexpr int64_t kMostLayers = 10'000;  // what a DecoderConfig may have

ModelFacts with_layers(const ModelFacts& model, int64_t layers) {
  DecoderConfig config = model.config;
  config.num_layers = layers;
  return facts_of(config, model.name);
}

// The largest count from 0 on for which `fits`, which is false from some count on.
int64_t largest_that(const std::function<bool(int64_t)>& fits) {
  int64_t low = 0, high = 1;
  while (high <= kMostLayers && fits(high)) {
    low = high;
    high *= 2;
  }
  high = std::min(high, kMostLayers + 1);
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    (fits(middle) ? low : high) = middle;
  }
  return low;
}

}  // namespace

Fit fit_into(int64_t memory_bytes, const ModelFacts& model, bool keeps_blocks,
             const std::function<Plan(const ModelFacts&)>& plan) {
  const auto peak_of = [&](const ModelFacts& other) -> std::optional<int64_t> {
    try {
      return plan(other).peak_bytes();
    } catch (const ConfigError&) {
      return std::nullopt;
    }
  };
  Fit fit{.memory_bytes = memory_bytes, .fits = plan(model).peak_bytes() <= memory_bytes};
  if (keeps_blocks) return fit;
  for (const KnownModel& known : known_models()) {
    const auto peak = peak_of(facts_of(known.config, known.name));
    if (!peak || *peak > memory_bytes) continue;
    fit.known = known.name;
    fit.known_peak_bytes = *peak;
  }
  if (!peak_of(with_layers(model, 1))) return fit;  // the recipe names layers by their numbers
  const int64_t layers = largest_that([&](int64_t count) {
    const auto peak = peak_of(with_layers(model, count));
    return peak.has_value() && *peak <= memory_bytes;
  });
  fit.layers = layers;
  if (layers > 0) fit.layers_parameters = num_parameters(with_layers(model, layers));
  return fit;
}

}  // namespace leash
