// The runs of a sweep in one process, over one base, in turns by step.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "configs/sweep.h"
#include "experiments/cli/sweep_table.h"
#include "models/decoder/shared_decoders.h"
#include "rl/run/interrupt.h"
#include "rl/run/median_stop.h"
#include "rl/run/metrics_tail.h"
#include "rl/run/run_folder.h"
#include "rl/run/sweep_record.h"
#include "rl/run/turns.h"

namespace leash::cli {

struct SweepPlace {
  std::filesystem::path folder;
  bool resume = false;
  bool allow_inexact = false;
  std::string go_on;  // the command that goes on with the sweep
};

class SweepRunner {
 public:
  // Opens and locks the folder of every run that has something left to do: ConfigError and
  // FormatError as `leash train` for each of them, before anything is loaded.
  SweepRunner(const Sweep& sweep, SweepRecord record, SweepPlace place);

  // Trains `jobs` runs at a time until all are done, stopped, failed or interrupted; returns how
  // each ended. Every run's numbers and files are those of `leash train` alone: what it does
  // between two turns, it does alone in this process.
  const SweepRecord& train(size_t jobs);
  bool interrupted() const { return guard_.requested(); }

 private:
  void work(size_t worker);
  std::optional<size_t> next_run();
  void run(size_t worker, size_t index);
  template <class Setup>
  void run_setup(const Setup& setup, size_t worker, size_t index);
  bool ends_after_step(size_t worker, size_t index);
  void save_record();
  void read_metrics(size_t index);
  bool loses(size_t index);
  void set_status(size_t index, SweepStatus status, const std::string& why = "");

  const Sweep& sweep_;
  SweepRecord record_;
  SweepPlace place_;
  InterruptGuard guard_;
  SharedDecoders shared_;
  SweepConsole console_;
  Turns turns_;
  size_t next_ = 0;
  std::vector<std::unique_ptr<RunFolder>> folders_;  // nullptr: nothing is left to do
  std::vector<MetricsTail> tails_;
  NewestMetrics newest_;
  std::vector<MetricBySteps> watched_;  // the metric of `stop`
};

}  // namespace leash::cli
