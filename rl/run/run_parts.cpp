#include "rl/run/run_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "models/errors.h"

namespace leash {

double PhaseClock::lap() {
  const auto now = std::chrono::steady_clock::now();
  const std::chrono::duration<double> passed = now - std::exchange(start_, now);
  return passed.count();
}

void require_best_snapshot(const std::filesystem::path& run_dir, std::optional<int64_t> best,
                           int64_t step) {
  if (!best || *best == step) return;
  const Snapshot snapshot = snapshot_of(run_dir, *best);
  const auto damage = snapshot_damage(snapshot.path);
  if (!damage) return;
  throw FormatError(fmt::format(
      "{}: {}: it is the best snapshot so far, whose adapter the run ends with; restore it, or "
      "remove the snapshots from step {} on, so that the run goes on from an older one",
      snapshot.path.string(), *damage, *best));
}

RunLogOptions log_options(const RunConfig& run, int64_t total_steps, int64_t first_step,
                          const Communicator& communicator) {
  return {
      .total_steps = total_steps,
      .first_step = first_step,
      .logging_steps = run.logging_steps,
      .tensorboard = std::ranges::find(run.report_to, ReportTo::tensorboard) != run.report_to.end(),
      .writes = communicator.leads()};
}

std::shared_ptr<GatherQueue> sharded_base(const RunConfig& run, Communicator& communicator) {
  if (run.fsdp == Fsdp::full_shard) communicator.shard_weights();
  return communicator.gathers();
}

double gathered_megabytes(const Communicator& communicator) {
  if (communicator.gathers() == nullptr) return 0;
  return static_cast<double>(communicator.gathers()->counts().bytes) / 1e6;
}

GatherQueue::Keep kept_without_gradients(const RunConfig& run) {
  return run.gather_for_generation ? GatherQueue::Keep::all : GatherQueue::Keep::next;
}

bool saves_after(const RunConfig& run, int64_t steps_per_epoch, int64_t step) {
  switch (run.save_strategy) {
    case SaveStrategy::no:
      return false;
    case SaveStrategy::steps:
      return run.save_steps > 0 && step % run.save_steps == 0;
    case SaveStrategy::epoch:
      return step % steps_per_epoch == 0;
  }
  return false;
}

}  // namespace leash
