// Means with 95 % intervals.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace leash {

struct Interval {
  double low = 0;
  double high = 0;
};

// mean ± t s / √n with s² = Σ (x - mean)² / (n - 1) and t the 97.5 % point of Student's
// distribution with n - 1 degrees of freedom (Student 1908). One value has no interval.
struct MeanInterval {
  int64_t n = 0;
  double mean = 0;  // 0 when n is 0
  std::optional<Interval> ci95;
};

double sum(std::span<const double> values);

MeanInterval mean_interval(std::span<const double> values);

// "0.812 [0.750, 0.874]", or the mean alone.
std::string interval_text(const MeanInterval& value);

}  // namespace leash
