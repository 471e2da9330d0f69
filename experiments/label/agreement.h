// How far people who judged the same things agree, beyond what chance would do. Nominal categories.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "rl/statistics/statistics.h"

namespace leash::label {

struct Agreement {
  int64_t items = 0;    // things that at least two judged
  int64_t values = 0;   // judgements of these
  double observed = 0;  // share of pairs of judgements of one thing that are equal
  std::optional<double> chance_corrected = {};  // nothing where all judgements are equal, or none
  // The middle 95 % of 2,000 bootstrap resamples of whole things (Efron 1979), drawn by the seed.
  // Resamples whose judgements are all equal have no value and are left out. Nothing for fewer than
  // two things.
  std::optional<Interval> ci95 = {};
};

// Cohen's kappa of two people (Cohen 1960): a[i] and b[i] are what they said of thing i.
//   κ = (p_o - p_e) / (1 - p_e), p_e = Σ_c (share of c in a) (share of c in b)
Agreement cohen_kappa(std::span<const int> a, std::span<const int> b, uint64_t seed);

// Krippendorff's alpha for any number of people, of whom not all judged everything (Krippendorff
// 2011, "Computing Krippendorff's alpha-reliability"): an entry per thing holds what was said of
// it. Things that fewer than two judged do not count.
//   α = 1 - (n - 1) (n - Σ_c o_cc) / (n² - Σ_c n_c²),   o_cc = Σ_u n_uc (n_uc - 1) / (m_u - 1)
// with n_uc judgements c of thing u, m_u = Σ_c n_uc, n_c = Σ_u n_uc and n = Σ_c n_c.
Agreement krippendorff_alpha(const std::vector<std::vector<int>>& things, uint64_t seed);

}  // namespace leash::label
