// Training of a text classifier: an adapter and a score head with one output per class over the
// frozen base. The loop is TrainingLoop's.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "rl/classification/evaluation.h"
#include "rl/classification/update.h"
#include "rl/run/console.h"
#include "rl/run/run_context.h"
#include "rl/training/loop.h"

namespace leash {

// The base with its adapter, and the data that says how many classes the head has.
struct Classifier {
  TrainedModel model;
  LabelledDataSets data;
};

// The base of model.path, the data, and the adapter of `lora:` with its score head. FormatError
// when a token is not in the model's vocabulary, or when lora.path is a classifier of other
// classes; ConfigError. With `gathers`, the base is sharded between the ranks.
Classifier load_classifier(const ClassificationSetup& setup,
                           const std::shared_ptr<GatherQueue>& gathers = nullptr);

// Copies a snapshot's adapter and head into `classifier`. FormatError when it tells other classes
// apart than the data, or the same in another order.
void read_classifier(const std::filesystem::path& snapshot, Classifier& classifier);

class ClassificationTrainer {
 public:
  ClassificationTrainer(ClassificationSetup setup, const RunContext& context);

  // Runs until done or interrupted. Throws NonFinite after naming the last good snapshot.
  RunOutcome train(const std::function<bool()>& interrupted);

  int64_t num_steps() const { return loop_.num_steps(); }
  const Adapter& adapter() const { return model().adapter; }

 private:
  const TrainedModel& model() const { return classifier_.model; }
  const LabelledDataSets& data() const { return classifier_.data; }
  void announce(Console& console);
  BatchResult gradients(const std::vector<int64_t>& rows, int64_t step, double loss_scale);
  double evaluate(RunLog& log, Metrics& metrics);
  std::string compare_with_start() const;

  ClassificationSetup setup_;
  Communicator& communicator_;
  Classifier classifier_;
  BatchOrder order_;
  TrainingLoop loop_;
};

// The held-out texts under the model's adapter.
ClassificationEvaluation evaluate_texts(const Classifier& classifier,
                                        const ClassificationSetup& setup,
                                        Communicator& communicator);

}  // namespace leash
