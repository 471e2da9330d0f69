// Training of a reward model: an adapter and a score head over the frozen base, on pairs of
// answers. Take a batch, sum its gradients, clip, step, log — one loop.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "rl/console.h"
#include "rl/data/packing.h"
#include "rl/data/preferences.h"
#include "rl/reward_evaluation.h"
#include "rl/reward_update.h"
#include "rl/run_folder.h"
#include "rl/run_parts.h"
#include "rl/training_snapshot.h"

namespace leash {

class RewardTrainer {
 public:
  // `folder` is opened and locked; where it has a snapshot, the run goes on from it.
  RewardTrainer(RewardSetup setup, RunFolder& folder, Communicator& communicator, Console& console,
                bool allow_inexact);

  // Runs until done or interrupted. Throws NonFinite after naming the last good snapshot.
  RunOutcome train(const std::function<bool()>& interrupted);

  int64_t num_steps() const;
  const Adapter& adapter() const { return model_.adapter; }

 private:
  void announce();
  Metrics iterate();
  void evaluate_and_log(RunLog& log, Metrics& metrics);
  Snapshot save();
  void export_adapter();
  std::string compare_with_start() const;

  bool done() const;
  bool evaluates_now() const;

  RewardSetup setup_;
  RunFolder& folder_;
  Communicator& communicator_;
  Console& console_;
  TrainedModel model_;
  PreferenceDataSets data_;
  BatchOrder order_;
  Optimizer optimizer_;
  TrainingState state_;
  int64_t tokens_seen_ = 0;  // of all sequences in the steps done
  std::optional<Snapshot> last_snapshot_;
};

// data.train and data.eval, read for this model. FormatError when a token is not in the model's
// vocabulary.
PreferenceDataSets read_preferences_for(const RewardSetup& setup, const TrainedModel& model);

RewardLossOptions loss_options(const RewardTrainConfig& config);

// The held-out pairs under the model's adapter.
RewardEvaluation evaluate_pairs(const PreferenceData& pairs, const RewardSetup& setup,
                                const TrainedModel& model, Communicator& communicator);

}  // namespace leash
