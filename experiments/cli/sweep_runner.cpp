#include "experiments/cli/sweep_runner.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <system_error>
#include <thread>
#include <utility>
#include <variant>

#include "experiments/cli/app.h"
#include "experiments/cli/recipe.h"
#include "experiments/cli/run_steps.h"
#include "models/device/device.h"
#include "models/io/atomic_file.h"
#include "rl/report/run_report.h"
#include "rl/run/console.h"

namespace leash::cli {
namespace {

namespace fs = std::filesystem;

// What `leash train` would print; beside the runs' folders, which hold the files of a run alone.
class LogFile {
 public:
  explicit LogFile(const fs::path& file) {
    fs::create_directories(file.parent_path());
    descriptor_ = ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (descriptor_ < 0) {
      throw std::system_error(errno, std::generic_category(), file.string());
    }
  }
  ~LogFile() { ::close(descriptor_); }
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_ = -1;
};

// A run that ended for good under these very settings.
bool is_over(const SweepEntry& entry, const fs::path& folder, const Experiment& experiment) {
  return entry.status == SweepStatus::stopped ||
         (entry.status == SweepStatus::done && !read_resolved(folder).empty() &&
          changed_since(folder, experiment).empty());
}

// The same order of grace as the runs have: the longest of them.
int64_t longest_grace(const Sweep& sweep) {
  int64_t longest = 0;
  for (const SweepRun& run : sweep.runs) {
    longest = std::max(longest, run.experiment.run().grace_seconds);
  }
  return longest;
}

}  // namespace

SweepRunner::SweepRunner(const Sweep& sweep, SweepRecord record, SweepPlace place)
    : sweep_(sweep),
      record_(std::move(record)),
      place_(std::move(place)),
      guard_(longest_grace(sweep)),
      newest_(sweep.runs.size()),
      watched_(sweep.runs.size()) {
  for (size_t i = 0; i < sweep.runs.size(); ++i) {
    const fs::path folder = place_.folder / record_.runs[i].name;
    const bool over = place_.resume && is_over(record_.runs[i], folder, sweep.runs[i].experiment);
    folders_.push_back(over ? nullptr
                            : std::make_unique<RunFolder>(RunFolder::open(folder, place_.resume)));
    if (!over) {
      record_.runs[i].status = SweepStatus::waiting;
      record_.runs[i].why.clear();
      record_.runs[i].step = folders_[i]->snapshot() ? folders_[i]->snapshot()->step : 0;
    }
    tails_.emplace_back(folder / "metrics.jsonl");
    read_metrics(i);
  }
  write_sweep_record(place_.folder, record_);
}

const SweepRecord& SweepRunner::train(size_t jobs) {
  guard_.set_farewell("go on with: " + place_.go_on);
  std::vector<std::jthread> workers;
  for (size_t worker = 0; worker < jobs; ++worker) turns_.join(worker);
  for (size_t worker = 0; worker < jobs; ++worker) {
    workers.emplace_back([this, worker] { work(worker); });
  }
  workers.clear();  // waits for them
  const bool watched = std::ranges::any_of(watched_, [](const auto& run) { return !run.empty(); });
  if (sweep_.config.stop.metric && !watched) {
    console_.message("warning: sweep.stop.metric: no run logged " + *sweep_.config.stop.metric);
  }
  if (guard_.requested()) {
    for (SweepEntry& entry : record_.runs) {
      if (entry.status == SweepStatus::waiting) entry.status = SweepStatus::interrupted;
    }
  }
  save_record();
  console_.show(record_.runs, newest_);
  return record_;
}

void SweepRunner::work(size_t worker) {
  turns_.wait(worker);
  while (const auto index = next_run()) run(worker, *index);
  turns_.leave(worker);
}

// Asked by who has the turn.
std::optional<size_t> SweepRunner::next_run() {
  if (guard_.requested()) return std::nullopt;
  while (next_ < folders_.size() && folders_[next_] == nullptr) ++next_;
  if (next_ == folders_.size()) return std::nullopt;
  return next_++;
}

void SweepRunner::run(size_t worker, size_t index) {
  try {
    set_status(index, SweepStatus::running);
    set_threads(sweep_.runs[index].experiment.run().threads);
    std::visit([&](const auto& setup) { run_setup(setup, worker, index); },
               sweep_.runs[index].experiment.setup);
  } catch (const std::exception& error) {
    set_status(index, SweepStatus::failed, failure_text(error));
  }
  folders_[index].reset();  // gives the lock back
}

template <class Setup>
void SweepRunner::run_setup(const Setup& setup, size_t worker, size_t index) {
  const SweepRun& run = sweep_.runs[index];
  RunFolder& folder = *folders_[index];
  const LogFile log(place_.folder / "logs" / (run.name + ".log"));
  Console console(log.descriptor(), /*terminal=*/false);
  for (const std::string& message : folder.messages()) console.message(message);
  const auto communicator = single_communicator();
  const auto trainer = make_trainer(setup, {.folder = folder,
                                            .communicator = *communicator,
                                            .console = console,
                                            .allow_inexact = place_.allow_inexact});
  write_text_file(folder.path() / "resolved.yaml", resolved_yaml(run.experiment));
  const RunOutcome outcome = trainer->train([&] { return ends_after_step(worker, index); });
  read_metrics(index);
  record_.runs[index].step = outcome.step;
  write_run_report(folder.path(), outcome.exported_step);
  if (outcome.end == RunEnd::interrupted) {
    const std::string& why = record_.runs[index].why;
    return set_status(index, why.empty() ? SweepStatus::interrupted : SweepStatus::stopped, why);
  }
  console.message(outcome.comparison);
  for (const std::string& line : export_at_end(run.experiment, folder.path())) {
    console.message(line);
  }
  set_status(index, SweepStatus::done);
}

// What the trainer asks between two steps: here the turn goes round.
bool SweepRunner::ends_after_step(size_t worker, size_t index) {
  read_metrics(index);
  console_.show(record_.runs, newest_);
  turns_.pass(worker);
  if (guard_.requested()) return true;
  return loses(index);
}

void SweepRunner::read_metrics(size_t index) {
  for (const MetricsRow& row : tails_[index].next()) {
    record_.runs[index].step = row.step;
    for (const auto& [name, value] : row.metrics) {
      if (name == sweep_.config.stop.metric) watched_[index][row.step] = value;
      auto& known = newest_[index];
      const auto found = std::ranges::find(known, name, &Metrics::value_type::first);
      if (found == known.end()) {
        known.emplace_back(name, value);
      } else {
        found->second = value;
      }
    }
  }
}

// Everybody else had a turn since this run's step, so that runs alive together are compared at
// equal steps, whoever went first.
bool SweepRunner::loses(size_t index) {
  const SweepStop& stop = sweep_.config.stop;
  if (!stop.metric || watched_[index].empty()) return false;
  const int64_t step = record_.runs[index].step;
  if (!worse_than_median(
          watched_, index, step,
          {.after = *stop.worse_than_median_after, .lower_is_better = stop.lower_is_better})) {
    return false;
  }
  record_.runs[index].why = fmt::format("{} of {:.4g} at step {} is worse than the median",
                                        *stop.metric, watched_[index].at(step), step);
  return true;
}

void SweepRunner::set_status(size_t index, SweepStatus status, const std::string& why) {
  SweepEntry& entry = record_.runs[index];
  const std::string kept = why;  // may be the entry's own
  entry.status = status;
  entry.why = kept;
  save_record();
  console_.show(record_.runs, newest_);
}

// A run goes on although the disk has no room for the record.
void SweepRunner::save_record() {
  try {
    write_sweep_record(place_.folder, record_);
  } catch (const std::exception& error) {
    console_.message(fmt::format("warning: sweep.json was not written: {}", error.what()));
  }
}

}  // namespace leash::cli
