// A run's folder: its lock, and what of an earlier run is kept.
#include "rl/run/run_folder.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>
#include <utility>

#include "models/errors.h"
#include "models/io/posix_file.h"
#include "rl/run/run_files.h"
#include "rl/run/tensorboard_writer.h"

namespace leash {
namespace {

namespace fs = std::filesystem;

// The process that holds the lock, as it wrote itself down.
std::string holder_of(int lock) {
  char text[32] = {};
  const ssize_t count = ::pread(lock, text, sizeof(text) - 1, 0);
  const std::string pid(text, count > 0 ? static_cast<size_t>(count) : 0);
  return pid.substr(0, pid.find_first_not_of("0123456789"));
}

// An exclusive lock, or ConfigError. O_CLOEXEC: a program that the run starts must not hold it on.
int lock_folder(const fs::path& folder) {
  const fs::path file = folder / ".lock";
  const int lock = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (lock < 0) {
    throw ConfigError(fmt::format("{}: cannot write into the run's folder: {}", folder.string(),
                                  std::generic_category().message(errno)));
  }
  if (::flock(lock, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    const std::string holder = holder_of(lock);
    ::close(lock);
    if (error != EWOULDBLOCK) {
      throw std::system_error(error, std::generic_category(), "cannot lock " + file.string());
    }
    throw ConfigError(fmt::format("{} is in use by another run (pid {})", folder.string(),
                                  holder.empty() ? "unknown" : holder));
  }
  // Only a help for whoever meets the lock; what counts is flock.
  const std::string text = lock_text();
  if (::ftruncate(lock, 0) == 0) (void)!::pwrite(lock, text.data(), text.size(), 0);
  return lock;
}

bool has_content(const fs::path& file) {
  std::error_code missing;
  const uintmax_t size = fs::file_size(file, missing);
  return !missing && size > 0;
}

int64_t cut_records(const fs::path& folder, int64_t step) {
  truncate_json_lines(folder / "samples.jsonl", step);
  truncate_events(folder, step);
  return truncate_json_lines(folder / "metrics.jsonl", step);
}

void create_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (!fs::is_directory(folder)) {
    throw ConfigError(fmt::format("{}: cannot create the run's folder: {}", folder.string(),
                                  error ? error.message() : "a file of that name is there"));
  }
}

bool holds_only_the_lock(const fs::path& folder) {
  std::error_code error;
  for (fs::directory_iterator entry(folder, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    if (entry->path().filename() != ".lock") return false;
  }
  return !error;
}

}  // namespace

RunFolder RunFolder::open(const fs::path& path, bool resume) {
  RunFolder run;
  require_run_folder(path);
  run.created_ = !fs::exists(path);
  create_folder(path);
  run.path_ = path;
  run.lock_ = lock_folder(path);
  remove_leftovers(path);
  remove_unfinished_files(path);
  const bool has_snapshots = !list_snapshots(path).empty();
  if (!resume && (has_snapshots || has_content(path / "metrics.jsonl"))) {
    throw ConfigError(fmt::format(
        "{} holds a run already: go on with it by --resume, or choose another folder by --run-dir",
        path.string()));
  }
  if (has_snapshots) {
    run.resume_from_newest();
  } else {
    run.started_afresh_ = resume;
    if (resume) {
      run.messages_.push_back(fmt::format("{} {}has no snapshot: the run starts afresh",
                                          fs::absolute(path).lexically_normal().string(),
                                          run.created_ ? "is a new folder and " : ""));
    }
    cut_records(path, -1);
  }
  return run;
}

RunFolder RunFolder::view(std::filesystem::path path, std::optional<Snapshot> snapshot) {
  RunFolder run;
  run.path_ = std::move(path);
  run.snapshot_ = std::move(snapshot);
  return run;
}

void RunFolder::resume_from_newest() {
  SnapshotSearch search = find_newest_snapshot(path_);
  messages_ = std::move(search.messages);
  if (!search.newest) {
    std::string all = fmt::format("{}: every snapshot is damaged:", path_.string());
    for (const std::string& message : messages_) all += "\n  " + message;
    throw FormatError(all + "\nstart anew with another --run-dir, or remove the snapshots");
  }
  snapshot_ = search.newest;
  set_aside_later_snapshots(path_, snapshot_->step);
  const int64_t last = cut_records(path_, snapshot_->step);
  if (last < snapshot_->step) {
    messages_.push_back(fmt::format("metrics.jsonl has no lines of steps {} to {}: they were lost",
                                    last + 1, snapshot_->step));
  }
}

RunFolder::~RunFolder() {
  if (lock_ < 0) return;
  if (created_ && holds_only_the_lock(path_)) {
    std::error_code error;  // what cannot be removed stays; a folder that is not empty cannot
    fs::remove(path_ / ".lock", error);
    fs::remove(path_, error);
  }
  ::close(lock_);
}

RunFolder::RunFolder(RunFolder&& other) noexcept
    : path_(std::move(other.path_)),
      lock_(std::exchange(other.lock_, -1)),
      created_(other.created_),
      snapshot_(std::move(other.snapshot_)),
      started_afresh_(other.started_afresh_),
      messages_(std::move(other.messages_)) {}

int64_t truncate_json_lines(const fs::path& file, int64_t step) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return -1;
  uint64_t keep = 0;
  int64_t last = -1;
  for (std::string line; std::getline(stream, line) && !stream.eof();) {
    const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    const bool whole = json.is_object() && json.contains("step") &&
                       json["step"].is_number_integer() && json["step"].get<int64_t>() <= step;
    if (!whole) break;
    last = json["step"].get<int64_t>();
    keep += line.size() + 1;
  }
  if (keep < fs::file_size(file)) cut_file(file, keep);
  return last;
}

}  // namespace leash
