// Files whose every error is noticed: writing, flushing to disk, and renaming as one step. What is
// appended or cut is the file itself: a symbolic link is an error.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

namespace leash {

// An owned descriptor, opened for appending. Each append is one or more write() calls, so what was
// appended survives the end of this process. All methods throw std::system_error.
class AppendFile {
 public:
  enum class Mode { append, create_new };  // create_new: it must not exist yet
  explicit AppendFile(const std::filesystem::path& path, Mode mode = Mode::append);
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  void append(std::string_view bytes);
  // fsync: what was appended survives a power cut too.
  void sync();
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

// fsync of an existing file or folder.
void sync_to_disk(const std::filesystem::path& path);
// Cuts a file to `size` bytes and flushes it.
void cut_file(const std::filesystem::path& path, uint64_t size);
// The file appears whole or stays as it was (written aside, flushed, renamed).
void replace_file(const std::filesystem::path& path, std::string_view bytes);

}  // namespace leash
