// A file that appears whole or not at all: written beside its place, flushed, renamed.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string_view>

namespace leash {

// All functions throw std::system_error, which names the file, when the disk is full or broken.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path file);
  // Removes what was written unless commit() was reached.
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* bytes, size_t size);
  // Flushes to disk and puts the file in its place, over what was there.
  void commit();

 private:
  [[noreturn]] void fail(const char* what) const;
  std::filesystem::path file_;
  std::filesystem::path aside_;
  int fd_ = -1;
};

// The whole of a small file at once.
void write_text_file(const std::filesystem::path& file, std::string_view text);

}  // namespace leash
