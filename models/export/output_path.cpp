#include "models/export/output_path.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "models/errors.h"

namespace leash {
namespace {

namespace fs = std::filesystem;

bool is_taken(const fs::path& path) {
  std::error_code error;
  return fs::symlink_status(path, error).type() != fs::file_type::not_found;
}

[[noreturn]] void refuse(const fs::path& path) {
  throw ConfigError(
      fmt::format("--out {}: it exists already, and nothing is written over it", path.string()));
}

}  // namespace

OutputPath::OutputPath(fs::path path) : path_(std::move(path)) {
  if (!path_.has_filename()) path_ = path_.parent_path();  // "folder/"
  if (path_.filename().empty()) throw ConfigError("--out: no name for the file or folder");
  if (is_taken(path_)) refuse(path_);
  const fs::path folder = path_.has_parent_path() ? path_.parent_path() : ".";
  std::error_code error;
  if (!fs::is_directory(folder, error)) {
    throw ConfigError(
        fmt::format("--out {}: there is no folder {}", path_.string(), folder.string()));
  }
  aside_ = folder / fmt::format(".{}.{}.tmp", path_.filename().string(), getpid());
  fs::remove_all(aside_, error);
}

OutputPath::~OutputPath() {
  std::error_code error;
  if (!aside_.empty()) fs::remove_all(aside_, error);
}

void OutputPath::commit() {
  if (renameat2(AT_FDCWD, aside_.c_str(), AT_FDCWD, path_.c_str(), RENAME_NOREPLACE) != 0) {
    if (errno == EEXIST) refuse(path_);
    // File systems that cannot do it in one step.
    if (errno != EINVAL) throw std::system_error(errno, std::generic_category(), path_.string());
    if (is_taken(path_)) refuse(path_);
    fs::rename(aside_, path_);
  }
  aside_.clear();
}

}  // namespace leash
