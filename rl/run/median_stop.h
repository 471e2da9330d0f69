// When a run of a sweep is worse than most of its neighbours.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace leash {

// One metric of a run, by the step that logged it.
using MetricBySteps = std::map<int64_t, double>;

struct MedianStop {
  int64_t after = 0;  // steps that every run gets in any case
  bool lower_is_better = false;
};

// The median stopping rule (Golovin et al. 2017, Google Vizier, section 3.2.1), on values instead
// of running means: at a step `step` >= `after` that logged the metric, whether `run` is worse than
// the median over all runs (itself included) that logged it at that very step. Fewer than three
// such runs tell nothing. A value that is not finite is worse than any number.
bool worse_than_median(const std::vector<MetricBySteps>& runs, size_t run, int64_t step,
                       const MedianStop& rule);

}  // namespace leash
