// TensorBoard's event files: TFRecord frames around protobuf messages of type Event
// (tensorflow/core/util/event.proto), of which scalars need only a few fields.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "models/io/posix_file.h"
#include "rl/statistics/metrics.h"

namespace leash {

class TensorboardWriter {
 public:
  // A new file events.out.tfevents.<time>.<host>.<pid>.<n> in `folder`.
  explicit TensorboardWriter(const std::filesystem::path& folder);
  // One event with all scalars of a step, stamped with the present time.
  void scalars(int64_t step, const Metrics& metrics);
  void sync() { file_->sync(); }
  const std::filesystem::path& path() const { return file_->path(); }

 private:
  std::unique_ptr<AppendFile> file_;
};

// The parts, as pure functions.
std::string tensorboard_record(std::string_view data);  // a TFRecord frame
std::string version_event(double wall_time);            // the first of every file
std::string scalars_event(double wall_time, int64_t step, const Metrics& metrics);

// Event files of all programs begin so.
inline constexpr std::string_view kEventsPrefix = "events.out.tfevents.";

// Cuts every event file of ours in a folder before its first record that is broken or of a later
// step, and removes it when none is left. Ours has the name that TensorboardWriter gives and begins
// with version_event, or is empty: other programs name their files otherwise or add who they are.
void truncate_events(const std::filesystem::path& folder, int64_t step);

}  // namespace leash
