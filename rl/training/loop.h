// The loop that every supervised trainer runs: take a batch, sum its gradients, clip, step, log,
// evaluate, save. What differs between tasks (whose data, which loss, which measures) is handed in.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "models/device/out_of_memory.h"
#include "rl/data/packing.h"
#include "rl/distributed/communicator.h"
#include "rl/optim/grad_scaler.h"
#include "rl/run/console.h"
#include "rl/run/good_snapshots.h"
#include "rl/run/run_context.h"
#include "rl/run/run_parts.h"
#include "rl/training/snapshot.h"

namespace leash {

// What one batch gave, over all ranks; its gradients, times the loss scale, are in the parameters.
struct BatchResult {
  double loss = 0;
  int64_t rows = 0;      // tokens that went through the decoder
  Metrics metrics = {};  // the task's own, for the step's line
};

// What a task does itself.
struct TrainingTask {
  std::vector<ConsoleColumn> columns;
  bool holds_out = false;  // there is held-out data
  // Sums the gradients of `loss_scale` times the loss of these rows of BatchOrder in optimizer step
  // `step` (1, 2, …).
  std::function<BatchResult(const std::vector<int64_t>& rows, int64_t step, double loss_scale)>
      gradients;
  // Evaluates on the held-out data, adds the measures to the line, and returns the held-out loss.
  std::function<double(RunLog& log, Metrics& metrics)> evaluate;
  // Held-out figures before and after, for the console; may be empty.
  std::function<std::string()> compare;
  // What belongs beside an adapter of this task, written into its folder. Optional.
  std::function<void(const std::filesystem::path& folder)> write_beside = {};
  // Who holds memory, where it is more than the model that trains. Optional.
  std::function<std::vector<MemoryUse>()> memory = {};
};

// The loss scale below which a run ends: overflows that it does not cure. fairseq's
// --min-loss-scale.
inline constexpr double kMinLossScale = 1e-4;

class TrainingLoop {
 public:
  // All arguments outlive the loop. All ranks make one with equal arguments.
  TrainingLoop(const TrainingConfig& config, const RunConfig& run, TrainedModel& model,
               const BatchOrder& order, const RunContext& context);
  TrainingLoop(const TrainingLoop&) = delete;
  TrainingLoop& operator=(const TrainingLoop&) = delete;

  // Runs until done or interrupted (on any rank; asked between steps). Throws NonFinite after
  // naming the last good snapshot. In float16, a step whose gradients are not finite is skipped
  // (the optimizer and the schedule stand still, as in transformers' Trainer) and the loss scale
  // shrinks; NonFinite once it is below kMinLossScale.
  RunOutcome train(const TrainingTask& task, const std::function<bool()>& interrupted);

  int64_t num_steps() const { return total_steps(config_, order_); }
  const TrainingState& state() const { return state_; }
  std::filesystem::path folder() const { return folder_.path(); }

  // evaluations/step-N.json of the state before training, of the best step and of the last one, as
  // far as they exist.
  struct StepFile {
    int64_t step = 0;
    std::filesystem::path file;
  };
  std::vector<StepFile> compared_evaluations() const;

  // Lines for the user: what trains, before the data; and how long, behind it.
  void announce_model();
  void announce_steps(const char* rows /* "pairs" */);

 private:
  bool done() const;
  Metrics iterate(const TrainingTask& task);
  Metrics probe();
  void skip(int64_t step, double loss);
  void evaluate(const TrainingTask& task, RunLog& log, Metrics& metrics);
  Snapshot save(const TrainingTask& task);
  int64_t exported_step() const;
  void export_adapter(const TrainingTask& task);

  const TrainingConfig& config_;
  const RunConfig& run_;
  TrainedModel& model_;
  const BatchOrder& order_;
  RunFolder& folder_;
  Communicator& communicator_;
  Console& console_;
  Optimizer optimizer_;
  std::optional<GradScaler> scaler_;  // with a model in float16
  TrainingState state_;
  GoodSnapshots snapshots_;
};

}  // namespace leash
