// How good a reward model is on pairs that it does not train on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "models/io/snapshot.h"
#include "rl/reward_model/loss.h"
#include "rl/reward_model/update.h"
#include "rl/run/task.h"
#include "rl/statistics/metrics.h"
#include "rl/statistics/statistics.h"

namespace leash {

// Pairs of similar confidence. The model says that the answer with the higher score is the
// preferred one with probability σ(|c - r|); `expected` is the mean of that, `observed` the share
// of pairs where it is so (half of a pair with equal scores).
struct CalibrationBin {
  double expected = 0;
  MeanInterval observed;
};

struct RewardEvaluation {
  std::vector<ScoredPair> pairs;

  // As the loss in training, with margin and centring, without label smoothing.
  double loss(const RewardLossOptions& options) const;
  MeanInterval accuracy() const;  // share of pairs with c > r
  MeanInterval margin() const;    // mean c - r
  MeanInterval reward() const;    // mean of all scores
  // Pearson, of all answers: score with length in tokens. Near 0 is what one hopes for, unless the
  // data prefers a length.
  MeanInterval length_correlation() const;
  // Share of pairs whose chosen answer is the longer one (half where they are equal): what always
  // preferring the longer one would be right about.
  MeanInterval longer_chosen() const;
  // Equally many pairs in each bin, by rising confidence; at most 8 bins of at least 10 pairs.
  std::vector<CalibrationBin> calibration() const;
  // Expected calibration error: Σ_bins |expected - observed| · pairs / all pairs.
  double calibration_error() const;

  // eval/loss, eval/accuracy with eval/accuracy_low and _high, …
  Metrics metrics(const RewardLossOptions& options) const;
};

// All figures with their intervals, and the calibration bin by bin.
std::string reward_evaluation_table(const RewardEvaluation& evaluation,
                                    const RewardLossOptions& options);

// evaluations/step-N.json in a run's folder. The newest one is none where the folder has none of
// this kind.
void write_reward_evaluation(const std::filesystem::path& run_dir, int64_t step,
                             const RewardEvaluation& evaluation);
RewardEvaluation read_reward_evaluation(const std::filesystem::path& file);

// Held-out figures of a run, for `leash evaluate`. ConfigError without held-out data; FormatError.
TaskEvaluation evaluate_run(const RewardSetup& setup, const std::optional<Snapshot>& snapshot);

}  // namespace leash
