// Writing aside, fsync, rename.
#include "models/io/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <system_error>
#include <utility>

namespace leash {

namespace {

// One write call may take at most 2 GiB on Linux.
constexpr size_t kMaxWrite = size_t{1} << 30;

std::filesystem::path name_aside(const std::filesystem::path& file) {
  static std::atomic<int> counter{0};
  auto aside = file;
  aside += fmt::format(".{}-{}.tmp", ::getpid(), counter++);
  return aside;
}

}  // namespace

AtomicFile::AtomicFile(std::filesystem::path file) : file_(std::move(file)) {
  do {
    aside_ = name_aside(file_);
    fd_ = ::open(aside_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (fd_ < 0 && errno == EEXIST);  // left by a process of the same number that was killed
  if (fd_ < 0) fail("cannot create");
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!aside_.empty()) ::unlink(aside_.c_str());
}

void AtomicFile::write(const void* bytes, size_t size) {
  const auto* next = static_cast<const char*>(bytes);
  while (size > 0) {
    const ssize_t written = ::write(fd_, next, std::min(size, kMaxWrite));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("cannot write");
    next += written;
    size -= static_cast<size_t>(written);
  }
}

void AtomicFile::commit() {
  if (::fsync(fd_) != 0) fail("cannot flush");
  const int closed = ::close(fd_);
  fd_ = -1;
  if (closed != 0) fail("cannot close");
  if (::rename(aside_.c_str(), file_.c_str()) != 0) fail("cannot put in place");
  aside_.clear();
  // The rename itself must survive a power failure too.
  const auto folder = file_.has_parent_path() ? file_.parent_path() : std::filesystem::path(".");
  const int folder_fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder_fd < 0) return;
  ::fsync(folder_fd);  // not every file system can; the file is complete either way
  ::close(folder_fd);
}

void AtomicFile::fail(const char* what) const {
  throw std::system_error(errno, std::generic_category(),
                          fmt::format("{}: {}", file_.string(), what));
}

void write_text_file(const std::filesystem::path& file, std::string_view text) {
  AtomicFile atomic(file);
  atomic.write(text.data(), text.size());
  atomic.commit();
}

}  // namespace leash
