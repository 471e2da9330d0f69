#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace leash::fuzzing {

InputFolder::InputFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "leash-fuzz-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no folder for inputs");
  path_ = pattern;
}

void InputFolder::put(const std::string& name, std::string_view contents) const {
  const std::filesystem::path file = path_ / name;
  if (contents.empty()) {
    ::unlink(file.c_str());
    return;
  }
  const int descriptor = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  require(descriptor >= 0, "the input's file cannot be created");
  const ssize_t written = ::write(descriptor, contents.data(), contents.size());
  require(written == static_cast<ssize_t>(contents.size()), "the input cannot be written");
  ::close(descriptor);
}

std::vector<std::string_view> files_of(std::string_view input, size_t count) {
  std::vector<std::string_view> files(count);
  for (size_t i = 0; i < count; ++i) {
    const size_t end = i + 1 == count ? input.size() : std::min(input.find('\0'), input.size());
    files[i] = input.substr(0, end);
    input.remove_prefix(std::min(end + 1, input.size()));
  }
  return files;
}

void require(bool holds, std::string_view what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %.*s\n", static_cast<int>(what.size()), what.data());
  std::abort();
}

}  // namespace leash::fuzzing
