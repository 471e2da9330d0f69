// Snapshots of a run: folders `snapshots/step-N` that appear whole or not at all. A snapshot is
// written aside, described by MANIFEST.json (size and CRC-32C of every file), flushed to disk and
// renamed; only a folder that verifies against its manifest is ever used.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace leash {

struct Snapshot {
  int64_t step = 0;
  std::filesystem::path path;
};

// Usage:
//   SnapshotWriter writer(run_dir, step);
//   save_adapter(writer.folder() / "policy", …);   // any files, also in subfolders
//   writer.commit();
// An exception on the way (a full disk: std::system_error) removes what was written and leaves
// older snapshots as they were.
class SnapshotWriter {
 public:
  SnapshotWriter(const std::filesystem::path& run_dir, int64_t step);
  ~SnapshotWriter();
  SnapshotWriter(const SnapshotWriter&) = delete;
  SnapshotWriter& operator=(const SnapshotWriter&) = delete;

  const std::filesystem::path& folder() const { return folder_; }
  // Makes it `snapshots/step-N`, in place of one of that name. Nothing may be written afterwards.
  Snapshot commit();

 private:
  std::filesystem::path run_dir_;
  std::filesystem::path folder_;
  int64_t step_;
  bool committed_ = false;
};

// Where the snapshot of a step is, or would be.
Snapshot snapshot_of(const std::filesystem::path& run_dir, int64_t step);

// The folders `snapshots/step-N` by rising step, verified or not.
std::vector<Snapshot> list_snapshots(const std::filesystem::path& run_dir);

// What is wrong with a snapshot (a file missing, added, cut short or changed), or nullopt when it
// is whole. Reads all of it.
std::optional<std::string> snapshot_damage(const std::filesystem::path& folder);

struct SnapshotSearch {
  std::optional<Snapshot> newest;     // the newest that verifies
  std::vector<std::string> messages;  // one for each damaged one that was passed over
};
SnapshotSearch find_newest_snapshot(const std::filesystem::path& run_dir);

// Renames snapshots of later steps than `step` to `damaged-step-N`: the run goes on from `step`,
// and they must not count as its newest. Returns them as they were.
std::vector<Snapshot> set_aside_later_snapshots(const std::filesystem::path& run_dir, int64_t step);

// Removes all but the newest `save_total_limit` (0: none is removed); `keep_step`, the best one's,
// stays and does not count. A prune that is killed leaves nothing that looks like a snapshot.
void prune_snapshots(const std::filesystem::path& run_dir, int64_t save_total_limit,
                     std::optional<int64_t> keep_step = std::nullopt);

// Removes what killed writers and prunes left behind. Only for the one who holds the run's lock.
void remove_leftovers(const std::filesystem::path& run_dir);

}  // namespace leash
