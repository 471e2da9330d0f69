// From the scores of several sources to one: normalised, clipped, weighted, added up.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "rl/reward/config.h"

namespace leash {

// Mean and variance of all scores of a source so far, one after the other (Welford 1962), so that
// they depend on the scores and their order alone.
struct RunningMoments {
  std::string label{};  // of the source
  int64_t count = 0;
  double mean = 0;
  double squares = 0;  // Σ (score - mean)²

  void add(double score);
  double deviation() const;  // n - 1; 0 for fewer than two scores
  // (score - mean) / deviation; 0 where all scores were equal.
  double normalized(double score) const;
  bool operator==(const RunningMoments&) const = default;
};

bool normalizes(const std::vector<RewardConfig>& configs);

// Into the range of `clip`, where there is one.
double clipped(const RewardConfig& config, double score);

// The total of an answer without running normalisation: Σ weight · clipped(score), and of a source
// that normalises weight · score, which stays comparable as a run goes on.
double plain_total(const std::vector<RewardConfig>& configs, std::span<const double> scores);

// The totals of a batch, a row of scores (by source) per answer. The moments (of each source that
// normalises, as fresh_moments has them) first take in the batch, in its order; then Σ weight ·
// clipped(normalized(score)), of the other sources as above.
std::vector<double> running_totals(const std::vector<RewardConfig>& configs,
                                   const std::vector<std::vector<double>>& scores,
                                   std::vector<RunningMoments>& moments);

// Of the sources that normalise, in their order: those of `saved` with the same label, else new
// ones.
std::vector<RunningMoments> fresh_moments(const std::vector<RewardConfig>& configs,
                                          const std::vector<RunningMoments>& saved = {});

}  // namespace leash
