// A run's folder: who may write into it, and what of an earlier run is kept.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "models/io/snapshot.h"

namespace leash {

// Holds an exclusive lock on the folder (flock on `.lock`) as long as it lives; the kernel gives
// it back when the process dies.
class RunFolder {
 public:
  // Creates the folder if need be, locks it, and removes what a killed run left half-done.
  //   - files of others are in it, or a symbolic link: ConfigError as require_run_folder, with and
  //     without `resume`, and nothing is touched
  //   - in use by another run: ConfigError with its process id
  //   - used before (metrics or snapshots), without `resume`: ConfigError that names the ways out
  //   - `resume` with a snapshot: metrics.jsonl, samples.jsonl and TensorBoard events are cut to
  //     its step (records of later steps and torn lines go), and damaged snapshots of later steps
  //     are renamed to damaged-step-N
  //   - `resume` without one: starts afresh (records of the earlier try go) and says so in
  //     `messages`
  //   - `resume` where every snapshot is damaged: FormatError, nothing is touched
  static RunFolder open(const std::filesystem::path& path, bool resume);
  // For processes that only read: nothing is created, locked or removed.
  static RunFolder view(std::filesystem::path path, std::optional<Snapshot> snapshot);
  // Gives the lock back; a folder that was created here and is still empty goes again.
  ~RunFolder();
  RunFolder(RunFolder&& other) noexcept;
  RunFolder& operator=(RunFolder&&) = delete;

  const std::filesystem::path& path() const { return path_; }
  // What to go on from; nullopt for a run that starts at step 0.
  const std::optional<Snapshot>& snapshot() const { return snapshot_; }
  // `resume` was asked for, but there was nothing to resume.
  bool started_afresh() const { return started_afresh_; }
  // For the user: damaged snapshots that were passed over, a fresh start.
  const std::vector<std::string>& messages() const { return messages_; }

 private:
  RunFolder() = default;
  void resume_from_newest();

  std::filesystem::path path_;
  int lock_ = -1;
  bool created_ = false;
  std::optional<Snapshot> snapshot_;
  bool started_afresh_ = false;
  std::vector<std::string> messages_;
};

// The longest beginning of a JSON Lines file whose lines are whole and have "step" <= `step`; the
// rest is cut off. A file that does not exist is left so. `step` -1 empties it. Returns the step of
// the last line that stays, or -1.
int64_t truncate_json_lines(const std::filesystem::path& file, int64_t step);

}  // namespace leash
