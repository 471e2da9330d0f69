#include "rl/statistics/statistics.h"

#include <fmt/format.h>

#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <numeric>

namespace leash {

double sum(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

MeanInterval mean_interval(std::span<const double> values) {
  const auto n = static_cast<int64_t>(values.size());
  if (n == 0) return {};
  const double count = static_cast<double>(n);
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
  if (n == 1) return {n, mean, std::nullopt};
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  const boost::math::students_t distribution(count - 1);
  const double t = boost::math::quantile(distribution, 0.975);
  const double half = t * std::sqrt(squares / (count - 1) / count);
  return {n, mean, Interval{mean - half, mean + half}};
}

std::string interval_text(const MeanInterval& value) {
  if (!value.ci95) return fmt::format("{:.3f}", value.mean);
  return fmt::format("{:.3f} [{:.3f}, {:.3f}]", value.mean, value.ci95->low, value.ci95->high);
}

}  // namespace leash
