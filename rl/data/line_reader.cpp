#include "rl/data/line_reader.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "models/errors.h"

namespace leash {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 16;

// What is wrong with an open file; empty where nothing is.
std::string problem_of(int descriptor) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) return strerror(errno);
  if (S_ISDIR(status.st_mode)) return "is a folder, not a JSONL file";
  return S_ISREG(status.st_mode) ? "" : "is no regular file";
}

}  // namespace

LineReader::LineReader(int descriptor, std::string name)
    : descriptor_(descriptor), name_(std::move(name)) {}

// O_NONBLOCK: opening a pipe must not wait for its writer.
LineReader::LineReader(const std::filesystem::path& file)
    : LineReader(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK), file.string()) {
  if (descriptor_ < 0) {
    throw FormatError(name_ + ": " +
                      (errno == ENOENT ? std::string("there is no such file")
                                       : std::string("cannot be read: ") + strerror(errno)));
  }
  owned_ = true;  // closed from here on, also by an exception: the object is whole
  if (const std::string problem = problem_of(descriptor_); !problem.empty()) {
    throw FormatError(name_ + ": " + problem);
  }
}

LineReader LineReader::standard_input() { return {STDIN_FILENO, "standard input"}; }

LineReader::~LineReader() {
  if (owned_) ::close(descriptor_);
}

bool LineReader::fill() {
  buffer_.resize(kBufferBytes);
  begin_ = 0;
  ssize_t count = 0;
  do {
    count = ::read(descriptor_, buffer_.data(), buffer_.size());
  } while (count < 0 && errno == EINTR);
  if (count < 0) {
    throw FormatError(fmt::format("{}: reading failed: {}", name_, strerror(errno)));
  }
  buffer_.resize(static_cast<size_t>(count));
  return count > 0;
}

std::string_view LineReader::head() {
  if (begin_ == buffer_.size()) (void)fill();
  return std::string_view(buffer_).substr(begin_);
}

bool LineReader::next(std::string& line) {
  line.clear();
  ++number_;
  while (begin_ < buffer_.size() || fill()) {
    const size_t end = buffer_.find('\n', begin_);
    const size_t length = std::min(end, buffer_.size()) - begin_;
    if (line.size() + length > kMaxLineBytes) {
      throw FormatError(fmt::format("{}:{}: the line is longer than {} MiB", name_, number_,
                                    kMaxLineBytes >> 20));
    }
    line.append(buffer_, begin_, length);
    begin_ += length + (end == std::string::npos ? 0 : 1);
    if (end != std::string::npos) return true;
  }
  return !line.empty();
}

}  // namespace leash
