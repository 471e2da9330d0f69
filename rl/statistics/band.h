// A mean and its interval as metrics, which the report draws as a curve with a band.
#pragma once

#include <string>

#include "rl/statistics/metrics.h"
#include "rl/statistics/statistics.h"

namespace leash {

// NAME, and where there is an interval NAME_low and NAME_high.
inline void add_with_band(Metrics& metrics, const std::string& name, const MeanInterval& value) {
  metrics.emplace_back(name, value.mean);
  if (!value.ci95) return;
  metrics.emplace_back(name + "_low", value.ci95->low);
  metrics.emplace_back(name + "_high", value.ci95->high);
}

}  // namespace leash
