// What the loops of all trainers share.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/io/snapshot.h"
#include "models/weights/gather_queue.h"
#include "rl/distributed/communicator.h"
#include "rl/run/run_config.h"
#include "rl/run/run_log.h"
#include "rl/statistics/metrics.h"

namespace leash {

enum class RunEnd { finished, interrupted };

struct RunOutcome {
  RunEnd end = RunEnd::finished;
  int64_t step = 0;  // steps done
  std::optional<Snapshot> last_snapshot;
  std::optional<int64_t> best_step;      // by the task's held-out measure; none without evaluations
  std::optional<int64_t> exported_step;  // whose adapter is in adapter/; none before the end
  std::string comparison;                // before against after, for the console
};

// Seconds of each phase of a step.
class PhaseClock {
 public:
  // Ends the phase that runs and returns its seconds.
  double lap();

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// On resuming: FormatError when the snapshot of `best`, which the run will need at its end, is
// damaged or gone. `step` is the one that the run goes on from, which was verified.
void require_best_snapshot(const std::filesystem::path& run_dir, std::optional<int64_t> best,
                           int64_t step);

// Options of the run's log: of several ranks only the leader writes.
RunLogOptions log_options(const RunConfig& run, int64_t total_steps, int64_t first_step,
                          const Communicator& communicator);

// What the ranks of this run gather frozen weights through; nullptr where each has all of them.
// All ranks call it once, before they load models.
std::shared_ptr<GatherQueue> sharded_base(const RunConfig& run, Communicator& communicator);

// Weights that came to this rank so far, 10⁶ bytes.
double gathered_megabytes(const Communicator& communicator);

// What stays of gathered weights in work without gradients.
GatherQueue::Keep kept_without_gradients(const RunConfig& run);

// Whether save_strategy asks for a snapshot after this step (1, 2, …).
bool saves_after(const RunConfig& run, int64_t steps_per_epoch, int64_t step);

}  // namespace leash
