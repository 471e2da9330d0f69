// Snapshots of a run: written aside, described, flushed, renamed; verified before use.
#include "models/io/snapshot.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <system_error>

#include "models/io/crc32c.h"
#include "models/io/posix_file.h"

namespace leash {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kManifest = "MANIFEST.json";
constexpr std::string_view kStepPrefix = "step-";
constexpr uintmax_t kLargestManifest = 16 << 20;

fs::path snapshots_of(const fs::path& run_dir) { return run_dir / "snapshots"; }

// N of "step-N", in its only spelling.
std::optional<int64_t> step_of(const std::string& name) {
  if (!name.starts_with(kStepPrefix)) return std::nullopt;
  int64_t step = -1;
  const char* end = name.data() + name.size();
  const auto parsed = std::from_chars(name.data() + kStepPrefix.size(), end, step);
  const bool whole = parsed.ec == std::errc() && parsed.ptr == end && step >= 0;
  return whole && fmt::format("{}{}", kStepPrefix, step) == name ? std::optional(step)
                                                                 : std::nullopt;
}

// Regular files below a folder by relative name, the manifest left out. Anything else (a link, a
// socket) is refused: a snapshot holds what it names.
std::map<std::string, fs::path> files_below(const fs::path& folder) {
  std::map<std::string, fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const fs::file_status status = entry.symlink_status();
    const std::string name = entry.path().lexically_relative(folder).generic_string();
    if (fs::is_directory(status) || name == kManifest) continue;
    if (!fs::is_regular_file(status)) throw std::runtime_error(name + " is not a plain file");
    files.emplace(name, entry.path());
  }
  return files;
}

// Flushes a folder and the folders in it; the files were flushed one by one.
void sync_folders(const fs::path& folder) {
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_directory()) sync_to_disk(entry.path());
  }
  sync_to_disk(folder);
}

// Renames `from` to `to`; a folder that is already there changes places with it in one step where
// the file system can do that. Returns where the old one went.
std::optional<fs::path> move_in_place(const fs::path& from, const fs::path& to) {
  if (!fs::exists(fs::symlink_status(to))) {
    fs::rename(from, to);
    return std::nullopt;
  }
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE) == 0) return from;
  if (errno != EINVAL && errno != ENOSYS) {
    throw std::system_error(errno, std::generic_category(), "cannot replace " + to.string());
  }
  const fs::path old = from.string() + ".old";
  fs::rename(to, old);
  fs::rename(from, to);
  return old;
}

std::optional<std::string> file_damage(const fs::path& file, const nlohmann::json& entry) {
  const std::string name = file.filename().string();
  if (!entry.is_object() || !entry.contains("bytes") || !entry.contains("crc32c") ||
      !entry["bytes"].is_number_unsigned() || !entry["crc32c"].is_string()) {
    return fmt::format("{} does not say what {} should hold", kManifest, name);
  }
  const uintmax_t bytes = fs::file_size(file), expected = entry["bytes"].get<uintmax_t>();
  if (bytes != expected) return fmt::format("{} has {} bytes, not {}", name, bytes, expected);
  if (fmt::format("{:08x}", file_crc32c(file)) != entry["crc32c"].get<std::string>()) {
    return fmt::format("{} was changed (CRC-32C)", name);
  }
  return std::nullopt;
}

std::optional<std::string> damage_of(const fs::path& folder) {
  const fs::path manifest_file = folder / kManifest;
  if (fs::is_symlink(folder)) return "it is a symbolic link";
  if (!fs::is_regular_file(manifest_file)) return fmt::format("{} is missing", kManifest);
  if (fs::file_size(manifest_file) > kLargestManifest) {
    return fmt::format("{} is too long", kManifest);
  }
  std::ifstream stream(manifest_file, std::ios::binary);
  // Not in order: an ordered object looks through all its names for each one that it reads.
  const auto manifest = nlohmann::json::parse(stream, nullptr, /*allow_exceptions=*/false);
  if (!manifest.is_object() || !manifest.contains("files") || !manifest["files"].is_object()) {
    return fmt::format("{} cannot be read", kManifest);
  }
  const std::map<std::string, fs::path> files = files_below(folder);
  for (const auto& [name, entry] : manifest["files"].items()) {
    const auto found = files.find(name);
    if (found == files.end()) return name + " is missing";
    if (auto damage = file_damage(found->second, entry)) return damage;
  }
  for (const auto& [name, path] : files) {
    if (!manifest["files"].contains(name)) return name + " does not belong to it";
  }
  return std::nullopt;
}

}  // namespace

Snapshot snapshot_of(const fs::path& run_dir, int64_t step) {
  return {.step = step, .path = snapshots_of(run_dir) / fmt::format("{}{}", kStepPrefix, step)};
}

SnapshotWriter::SnapshotWriter(const fs::path& run_dir, int64_t step)
    : run_dir_(run_dir),
      folder_(snapshots_of(run_dir) / fmt::format(".{}{}.tmp-{}", kStepPrefix, step, ::getpid())),
      step_(step) {
  fs::remove_all(folder_);
  fs::create_directories(folder_);
}

SnapshotWriter::~SnapshotWriter() {
  std::error_code ignored;
  if (!committed_) fs::remove_all(folder_, ignored);
}

Snapshot SnapshotWriter::commit() {
  Json manifest = {{"step", step_}, {"files", Json::object()}};
  for (const auto& [name, path] : files_below(folder_)) {
    sync_to_disk(path);
    manifest["files"][name] = {{"bytes", fs::file_size(path)},
                               {"crc32c", fmt::format("{:08x}", file_crc32c(path))}};
  }
  replace_file(folder_ / kManifest, manifest.dump(1) + "\n");
  sync_folders(folder_);
  const fs::path home = snapshots_of(run_dir_);
  const Snapshot snapshot = snapshot_of(run_dir_, step_);
  const auto old = move_in_place(folder_, snapshot.path);
  committed_ = true;
  sync_to_disk(home);
  sync_to_disk(run_dir_);
  if (old) fs::remove_all(*old);
  return snapshot;
}

std::vector<Snapshot> list_snapshots(const fs::path& run_dir) {
  std::vector<Snapshot> found;
  if (!fs::is_directory(snapshots_of(run_dir))) return found;
  for (const auto& entry : fs::directory_iterator(snapshots_of(run_dir))) {
    const auto step = step_of(entry.path().filename().string());
    if (step && fs::is_directory(entry.symlink_status())) found.push_back({*step, entry.path()});
  }
  std::sort(found.begin(), found.end(),
            [](const Snapshot& a, const Snapshot& b) { return a.step < b.step; });
  return found;
}

std::optional<std::string> snapshot_damage(const fs::path& folder) {
  try {
    return damage_of(folder);
  } catch (const std::exception& error) {  // a file that cannot be read, say
    return error.what();
  }
}

SnapshotSearch find_newest_snapshot(const fs::path& run_dir) {
  SnapshotSearch search;
  std::vector<Snapshot> snapshots = list_snapshots(run_dir);
  for (; !snapshots.empty() && !search.newest; snapshots.pop_back()) {
    if (const auto damage = snapshot_damage(snapshots.back().path)) {
      search.messages.push_back(fmt::format("passed over the damaged snapshot {}: {}",
                                            snapshots.back().path.string(), *damage));
    } else {
      search.newest = snapshots.back();
    }
  }
  return search;
}

std::vector<Snapshot> set_aside_later_snapshots(const fs::path& run_dir, int64_t step) {
  std::vector<Snapshot> later = list_snapshots(run_dir);
  std::erase_if(later, [&](const Snapshot& s) { return s.step <= step; });
  for (const Snapshot& snapshot : later) {
    const fs::path aside = snapshots_of(run_dir) / fmt::format("damaged-step-{}", snapshot.step);
    fs::remove_all(aside);
    fs::rename(snapshot.path, aside);
  }
  return later;
}

void prune_snapshots(const fs::path& run_dir, int64_t save_total_limit,
                     std::optional<int64_t> keep_step) {
  if (save_total_limit <= 0) return;
  std::vector<Snapshot> snapshots = list_snapshots(run_dir);
  std::erase_if(snapshots, [&](const Snapshot& s) {
    return (keep_step && s.step == *keep_step) || !fs::exists(s.path / kManifest);
  });
  for (size_t i = 0; i + static_cast<size_t>(save_total_limit) < snapshots.size(); ++i) {
    const fs::path aside = snapshots_of(run_dir) / fmt::format(".{}{}.removed-{}", kStepPrefix,
                                                               snapshots[i].step, ::getpid());
    fs::rename(snapshots[i].path, aside);
    fs::remove_all(aside);
  }
}

void remove_leftovers(const fs::path& run_dir) {
  if (!fs::is_directory(snapshots_of(run_dir))) return;
  std::vector<fs::path> leftovers;
  for (const auto& entry : fs::directory_iterator(snapshots_of(run_dir))) {
    const std::string name = entry.path().filename().string();
    const bool ours = name.starts_with(".step-") && (name.find(".tmp-") != std::string::npos ||
                                                     name.find(".removed-") != std::string::npos);
    if (ours) leftovers.push_back(entry.path());
  }
  for (const fs::path& leftover : leftovers) fs::remove_all(leftover);
}

}  // namespace leash
