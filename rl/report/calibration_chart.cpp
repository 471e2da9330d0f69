#include "rl/report/calibration_chart.h"

#include <fmt/format.h>

namespace leash {

LineChart calibration_chart(const RewardEvaluation& evaluation, int64_t step) {
  ChartSeries observed{.name = "observed"};
  for (const CalibrationBin& bin : evaluation.calibration()) {
    observed.x.push_back(bin.expected);
    observed.y.push_back(bin.observed.mean);
    const Interval around =
        bin.observed.ci95.value_or(Interval{bin.observed.mean, bin.observed.mean});
    observed.low.push_back(around.low);
    observed.high.push_back(around.high);
  }
  return {
      .title = "Calibration: how often the favourite is right",
      .x_label = "probability that the model gives its favourite",
      .note = fmt::format("{} held-out pairs after step {}, 95 %", evaluation.pairs.size(), step),
      .series = {observed, {.name = "as expected", .x = {0.5, 1.0}, .y = {0.5, 1.0}}}};
}

}  // namespace leash
