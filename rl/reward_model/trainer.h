// Training of a reward model: an adapter and a score head over the frozen base, on pairs of
// answers. The loop is TrainingLoop's.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "rl/data/preferences.h"
#include "rl/reward_model/evaluation.h"
#include "rl/reward_model/update.h"
#include "rl/run/console.h"
#include "rl/run/run_context.h"
#include "rl/training/loop.h"

namespace leash {

class RewardTrainer {
 public:
  RewardTrainer(RewardSetup setup, const RunContext& context);

  // Runs until done or interrupted. Throws NonFinite after naming the last good snapshot.
  RunOutcome train(const std::function<bool()>& interrupted);

  int64_t num_steps() const { return loop_.num_steps(); }
  const Adapter& adapter() const { return model_.adapter; }

 private:
  void announce(Console& console);
  BatchResult gradients(const std::vector<int64_t>& rows, int64_t step, double loss_scale);
  double evaluate(RunLog& log, Metrics& metrics);
  std::string compare_with_start() const;

  RewardSetup setup_;
  Communicator& communicator_;
  PreferenceDataSets data_;  // read before the model's weights, which take longer
  TrainedModel model_;
  BatchOrder order_;
  TrainingLoop loop_;
  int64_t tokens_seen_ = 0;  // of all sequences in the steps done
};

// data.train and data.eval, read for this model. FormatError when a token is not in the model's
// vocabulary.
PreferenceDataSets read_preferences_for(const RewardSetup& setup, const DecoderConfig& config,
                                        const Tokenizer& tokenizer);
PreferenceDataSets read_preferences_for(const RewardSetup& setup, const TrainedModel& model);

RewardLossOptions loss_options(const RewardTrainConfig& config);

// The held-out pairs under the model's adapter.
RewardEvaluation evaluate_pairs(const PreferenceData& pairs, const RewardSetup& setup,
                                const TrainedModel& model, Communicator& communicator);

}  // namespace leash
