// Direct preference optimisation: an adapter over the frozen base learns from pairs of answers,
// held to a frozen reference. The loop is TrainingLoop's.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "rl/data/preferences.h"
#include "rl/dpo/evaluation.h"
#include "rl/dpo/update.h"
#include "rl/run/console.h"
#include "rl/run/run_context.h"
#include "rl/training/loop.h"

namespace leash {

class DpoTrainer {
 public:
  DpoTrainer(DpoSetup setup, const RunContext& context);

  // Runs until done or interrupted. Throws NonFinite after naming the last good snapshot.
  RunOutcome train(const std::function<bool()>& interrupted);

  int64_t num_steps() const { return loop_.num_steps(); }
  const Adapter& adapter() const { return policy_.model.adapter; }

 private:
  void announce(Console& console);
  void precompute_reference(Console& console);
  BatchResult gradients(const std::vector<int64_t>& rows, int64_t step, double loss_scale);
  double evaluate(RunLog& log, Metrics& metrics);
  std::string compare_with_start() const;

  DpoSetup setup_;
  Communicator& communicator_;
  PreferenceDataSets data_;  // read before the model's weights, which take longer
  PolicyBesideReference policy_;
  BatchOrder order_;
  TrainingLoop loop_;
  std::vector<JudgedPair> pairs_;  // of data_.train
  int64_t tokens_seen_ = 0;        // of all sequences in the steps done
};

// data.train and data.eval, read for this model. FormatError when a token is not in the model's
// vocabulary.
PreferenceDataSets read_preferences_for(const DpoSetup& setup, const Checkpoint& checkpoint,
                                        const Tokenizer& tokenizer);

// The held-out pairs under policy and reference.
DpoEvaluation evaluate_pairs(const PreferenceData& pairs, const DpoSetup& setup,
                             const PolicyBesideReference& policy, Communicator& communicator);

}  // namespace leash
