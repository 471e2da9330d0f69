// Who worked when: one span per task of a lane, in Chrome's trace format, which Perfetto opens.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string_view>

namespace leash {

// Writes spans as they end, so that the file of a run that was killed can be read as well (the
// format allows a missing end). Safe from many threads. Throws std::system_error when the file
// cannot be made; a span that cannot be written is lost.
class Timeline {
 public:
  using Clock = std::chrono::steady_clock;

  // Spans of one process; `process` tells ranks apart.
  explicit Timeline(const std::filesystem::path& file, int64_t process = 0);

  // A row of the picture gets a name.
  void name_row(int64_t row, std::string_view name);
  void span(int64_t row, std::string_view name, Clock::time_point begin, Clock::time_point end);
  // One of several that overlap in any manner: it gets a row where there is room for it.
  void overlapping_span(std::string_view name, Clock::time_point begin, Clock::time_point end);

 private:
  void write(std::string_view event);

  double microseconds(Clock::time_point time) const;

  std::mutex mutex_;
  std::ofstream file_;
  std::atomic<int64_t> num_overlapping_ = 0;
  int64_t process_;
  Clock::time_point start_ = Clock::now();
};

}  // namespace leash
