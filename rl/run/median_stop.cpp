#include "rl/run/median_stop.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace leash {

bool worse_than_median(const std::vector<MetricBySteps>& runs, size_t run, int64_t step,
                       const MedianStop& rule) {
  constexpr size_t kFewest = 3;
  if (step < rule.after || !runs.at(run).contains(step)) return false;
  const auto worth = [&](const MetricBySteps& metric) {
    const double value = metric.at(step);
    if (!std::isfinite(value)) return -std::numeric_limits<double>::infinity();
    return rule.lower_is_better ? -value : value;
  };
  std::vector<double> all;
  for (const MetricBySteps& metric : runs) {
    if (metric.contains(step)) all.push_back(worth(metric));
  }
  if (all.size() < kFewest) return false;
  std::ranges::sort(all);
  const double median = (all[(all.size() - 1) / 2] + all[all.size() / 2]) / 2;
  return worth(runs[run]) < median;
}

}  // namespace leash
