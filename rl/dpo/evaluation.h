// How well a policy that was trained by DPO tells held-out answers apart, and how far it went.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "models/io/snapshot.h"
#include "rl/dpo/loss.h"
#include "rl/dpo/update.h"
#include "rl/run/task.h"
#include "rl/statistics/metrics.h"
#include "rl/statistics/statistics.h"

namespace leash {

struct DpoEvaluation {
  std::vector<ComparedPair> pairs;

  double loss(const DpoLossOptions& options) const;  // as in training
  // Rewards are β (log π - log π_ref) of whole answers. Intervals go over prompts.
  MeanInterval accuracy() const;           // share of pairs with the higher one for chosen
  MeanInterval margin(double beta) const;  // mean difference
  MeanInterval kl() const;                 // nats per answer, see ComparedPair::kl
  double kl_per_token() const;             // nats

  // eval/loss, and under TRL's names eval/rewards/accuracies with …_low and …_high, …
  Metrics metrics(const DpoLossOptions& options) const;
};

// All figures with their intervals.
std::string dpo_evaluation_table(const DpoEvaluation& evaluation, const DpoLossOptions& options);

// evaluations/step-N.json in a run's folder. FormatError.
void write_dpo_evaluation(const std::filesystem::path& run_dir, int64_t step,
                          const DpoEvaluation& evaluation);
DpoEvaluation read_dpo_evaluation(const std::filesystem::path& file);

// Held-out figures of a run, for `leash evaluate`. ConfigError without held-out data; FormatError.
TaskEvaluation evaluate_run(const DpoSetup& setup, const std::optional<Snapshot>& snapshot);

}  // namespace leash
