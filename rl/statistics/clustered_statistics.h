// 95 % intervals for values that come in groups (pairs of one prompt), whose values are not
// independent of each other: what is independent are the groups.
#pragma once

#include <cstdint>
#include <span>

#include "rl/statistics/statistics.h"

namespace leash {

// With n values in G groups, mean m and group sums e_g = Σ_{i in g} (x_i - m):
//   m ± t s, s² = G / (G - 1) Σ_g e_g² / n²  (Liang and Zeger 1986), t of Student with G - 1
// `groups` holds a number per value. One group has no interval.
MeanInterval clustered_mean(std::span<const double> values, std::span<const int64_t> groups);

// The same for a share p of zeros and ones, by Wilson's interval (1927), which stays inside [0, 1]
// and has a width where all are equal, with n divided by the design effect
// max(1, s² / (p (1 - p) / n)) (Kish 1965). Where p is 0 or 1 nothing tells how alike the values of
// a group are, so n is the number of groups.
MeanInterval clustered_share(std::span<const double> values, std::span<const int64_t> groups);

// Pearson's correlation; 0 where one side does not vary. The interval holds the middle 95 % of
// 1,000 bootstrap resamples of whole groups (Efron 1979), drawn by `seed`.
MeanInterval clustered_correlation(std::span<const double> x, std::span<const double> y,
                                   std::span<const int64_t> groups, uint64_t seed);

}  // namespace leash
