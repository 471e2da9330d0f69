// Supervised fine-tuning of an adapter. The loop is TrainingLoop's.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "rl/distributed/communicator.h"
#include "rl/run/console.h"
#include "rl/run/run_context.h"
#include "rl/sft/update.h"
#include "rl/training/loop.h"

namespace leash {

class SftTrainer {
 public:
  SftTrainer(SftSetup setup, const RunContext& context);

  // Runs until done or interrupted (on any rank; asked between steps). Throws NonFinite after
  // naming the last good snapshot.
  RunOutcome train(const std::function<bool()>& interrupted);

  int64_t num_steps() const { return loop_.num_steps(); }
  const Adapter& adapter() const { return model_.adapter; }

 private:
  void announce(Console& console);
  BatchResult gradients(const std::vector<int64_t>& rows, int64_t step, double loss_scale);
  double evaluate(RunLog& log, Metrics& metrics);
  std::string compare_with_start() const;

  SftSetup setup_;
  Communicator& communicator_;
  SftDataSets data_;  // read before the model's weights, which take longer
  SftModel model_;
  std::vector<std::vector<int64_t>>
      rows_;  // samples (indices) of each row; more than one if packed
  BatchOrder order_;
  TrainingLoop loop_;
};

// The samples of a file as held_out_sums and accumulate_gradients take them.
std::vector<const SftSample*> sample_refs(const std::vector<SftSample>& samples);

// data.train and data.eval, read for this model. FormatError when a token is not in the model's
// vocabulary.
SftDataSets read_data_for(const SftSetup& setup, const DecoderConfig& config,
                          const Tokenizer& tokenizer);
SftDataSets read_data_for(const SftSetup& setup, const SftModel& model);

}  // namespace leash
