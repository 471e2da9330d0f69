// How the runs of a sweep stand, as a table that is rewritten on a terminal.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "rl/run/sweep_record.h"
#include "rl/statistics/metrics.h"

namespace leash::cli {

// The newest value of every metric that a run logged.
using NewestMetrics = std::vector<Metrics>;

// A line for the names of the columns and one for each run: name, state, step, and of what was
// logged the figures that a reader looks for first.
std::string sweep_table(const std::vector<SweepEntry>& runs, const NewestMetrics& newest);

// On standard error. In a pipe a run gets a line when its state changes, and all of them a table
// once in a minute.
class SweepConsole {
 public:
  SweepConsole();
  void show(const std::vector<SweepEntry>& runs, const NewestMetrics& newest);
  void message(const std::string& text);

 private:
  bool terminal_;
  size_t lines_ = 0;  // of the table that stands there
  std::chrono::steady_clock::time_point shown_{};
  std::vector<SweepStatus> said_;
};

}  // namespace leash::cli
