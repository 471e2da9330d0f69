#include "rl/statistics/clustered_statistics.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <map>
#include <numeric>
#include <vector>

#include "models/random/random.h"

namespace leash {
namespace {

constexpr double kNormal975 = 1.959963984540054;  // the 97.5 % point of the normal distribution
constexpr int kResamples = 1000;

double mean_of(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

struct GroupedError {
  int64_t groups = 0;
  double variance = 0;  // of the mean; 0 for one group
};

GroupedError grouped_error(std::span<const double> values, std::span<const int64_t> groups,
                           double mean) {
  TORCH_CHECK(values.size() == groups.size(), "a group for each value");
  std::map<int64_t, double> sums;
  for (size_t i = 0; i < values.size(); ++i) sums[groups[i]] += values[i] - mean;
  double squares = 0;
  for (const auto& [group, sum] : sums) squares += sum * sum;
  const auto count = static_cast<double>(sums.size());
  const auto n = static_cast<double>(values.size());
  return {.groups = static_cast<int64_t>(sums.size()),
          .variance = sums.size() < 2 ? 0.0 : count / (count - 1) * squares / (n * n)};
}

// Sums of some pairs of values, enough for their correlation.
struct Moments {
  double n = 0, x = 0, y = 0, xx = 0, yy = 0, xy = 0;

  void add(double a, double b) { add({1, a, b, a * a, b * b, a * b}); }
  void add(const Moments& other) {
    n += other.n;
    x += other.x;
    y += other.y;
    xx += other.xx;
    yy += other.yy;
    xy += other.xy;
  }
  double correlation() const {
    const double vx = n * xx - x * x, vy = n * yy - y * y;
    // Below this a spread is rounding.
    if (vx <= 1e-12 * n * xx || vy <= 1e-12 * n * yy) return 0;
    return std::clamp((n * xy - x * y) / std::sqrt(vx * vy), -1.0, 1.0);
  }
};

// The value below which `part` of the sorted values lie, between neighbours in proportion.
double quantile(const std::vector<double>& sorted, double part) {
  const double at = part * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

}  // namespace

MeanInterval clustered_mean(std::span<const double> values, std::span<const int64_t> groups) {
  if (values.empty()) return {};
  MeanInterval result{
      .n = static_cast<int64_t>(values.size()), .mean = mean_of(values), .ci95 = {}};
  const GroupedError error = grouped_error(values, groups, result.mean);
  if (error.groups < 2) return result;
  const boost::math::students_t distribution(static_cast<double>(error.groups - 1));
  const double half = boost::math::quantile(distribution, 0.975) * std::sqrt(error.variance);
  result.ci95 = Interval{result.mean - half, result.mean + half};
  return result;
}

MeanInterval clustered_share(std::span<const double> values, std::span<const int64_t> groups) {
  if (values.empty()) return {};
  const double p = mean_of(values);
  MeanInterval result{.n = static_cast<int64_t>(values.size()), .mean = p, .ci95 = {}};
  const GroupedError error = grouped_error(values, groups, p);
  if (error.groups < 2) return result;
  const double independent = p * (1 - p) / static_cast<double>(values.size());
  const double effect = independent > 0 ? std::max(1.0, error.variance / independent) : 0.0;
  const double n =
      effect > 0 ? static_cast<double>(values.size()) / effect : static_cast<double>(error.groups);
  const double z2 = kNormal975 * kNormal975;
  const double centre = (p + z2 / (2 * n)) / (1 + z2 / n);
  const double half = kNormal975 * std::sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n);
  result.ci95 = Interval{std::max(0.0, centre - half), std::min(1.0, centre + half)};
  return result;
}

MeanInterval clustered_correlation(std::span<const double> x, std::span<const double> y,
                                   std::span<const int64_t> groups, uint64_t seed) {
  TORCH_CHECK(x.size() == y.size() && x.size() == groups.size(), "a group for each pair of values");
  // Around their means, so that squares do not swallow the spread.
  const double mean_x = x.empty() ? 0.0 : mean_of(x), mean_y = y.empty() ? 0.0 : mean_of(y);
  std::map<int64_t, Moments> by_group;
  Moments all;
  for (size_t i = 0; i < x.size(); ++i) {
    by_group[groups[i]].add(x[i] - mean_x, y[i] - mean_y);
    all.add(x[i] - mean_x, y[i] - mean_y);
  }
  MeanInterval result{.n = static_cast<int64_t>(x.size()), .mean = all.correlation(), .ci95 = {}};
  if (by_group.size() < 2) return result;
  std::vector<Moments> moments;
  for (const auto& [group, sums] : by_group) moments.push_back(sums);
  std::vector<double> resampled;
  for (int round = 0; round < kResamples; ++round) {
    const DrawKey key{
        .seed = seed, .purpose = Purpose::bootstrap, .a = static_cast<uint64_t>(round)};
    Moments sums;
    for (size_t i = 0; i < moments.size(); ++i) {
      const double u = draw_uniform(key, i) * static_cast<double>(moments.size());
      sums.add(moments[std::min(static_cast<size_t>(u), moments.size() - 1)]);
    }
    resampled.push_back(sums.correlation());
  }
  std::ranges::sort(resampled);
  result.ci95 = Interval{quantile(resampled, 0.025), quantile(resampled, 0.975)};
  return result;
}

}  // namespace leash
