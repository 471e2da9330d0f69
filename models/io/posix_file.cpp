// Files whose every error is noticed, with plain POSIX calls.
#include "models/io/posix_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>

namespace leash {
namespace {

[[noreturn]] void fail(const char* what, const std::filesystem::path& path, int error = errno) {
  throw std::system_error(error, std::generic_category(), std::string(what) + " " + path.string());
}

int open_or_throw(const std::filesystem::path& path, int flags) {
  const int descriptor = ::open(path.c_str(), flags | O_CLOEXEC, 0666);
  if (descriptor < 0) fail("cannot open", path);
  return descriptor;
}

}  // namespace

AppendFile::AppendFile(const std::filesystem::path& path, Mode mode) : path_(path) {
  const int creation = mode == Mode::create_new ? O_CREAT | O_EXCL : O_CREAT;
  descriptor_ = open_or_throw(path, O_WRONLY | O_APPEND | O_NOFOLLOW | creation);
}

AppendFile::~AppendFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void AppendFile::append(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("cannot write", path_);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
}

void AppendFile::sync() {
  if (::fsync(descriptor_) != 0) fail("cannot flush", path_);
}

void sync_to_disk(const std::filesystem::path& path) {
  const int descriptor = open_or_throw(path, O_RDONLY);
  // Some network file systems cannot flush a folder and say EINVAL; there is nothing more to do.
  const int error = ::fsync(descriptor) == 0 || errno == EINVAL ? 0 : errno;
  ::close(descriptor);
  if (error != 0) fail("cannot flush", path, error);
}

void cut_file(const std::filesystem::path& path, uint64_t size) {
  const int descriptor = open_or_throw(path, O_WRONLY | O_NOFOLLOW);
  const bool done =
      ::ftruncate(descriptor, static_cast<off_t>(size)) == 0 && ::fsync(descriptor) == 0;
  const int error = errno;
  ::close(descriptor);
  if (!done) fail("cannot cut", path, error);
}

void replace_file(const std::filesystem::path& path, std::string_view bytes) {
  const std::filesystem::path aside =
      path.string() + ".tmp-" + std::to_string(static_cast<long>(::getpid()));
  try {
    std::filesystem::remove(aside);
    AppendFile file(aside, AppendFile::Mode::create_new);
    file.append(bytes);
    file.sync();
    std::filesystem::rename(aside, path);
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(aside, ignored);
    throw;
  }
  const std::filesystem::path folder = path.parent_path();
  sync_to_disk(folder.empty() ? "." : folder);
}

}  // namespace leash
