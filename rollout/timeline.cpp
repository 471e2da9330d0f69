#include "rollout/timeline.h"

#include <fmt/format.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace leash {

Timeline::Timeline(const std::filesystem::path& file, int64_t process)
    : file_(file, std::ios::trunc), process_(process) {
  if (!file_) throw std::system_error(errno, std::generic_category(), file.string());
  file_ << "[\n" << std::flush;
}

void Timeline::name_row(int64_t row, std::string_view name) {
  write(fmt::format(
      R"({{"ph": "M", "name": "thread_name", "pid": {}, "tid": {}, "args": {{"name": "{}"}}}})",
      process_, row, name));
}

void Timeline::span(int64_t row, std::string_view name, Clock::time_point begin,
                    Clock::time_point end) {
  const std::chrono::duration<double, std::micro> length = end - begin;
  write(fmt::format(
      R"({{"ph": "X", "name": "{}", "pid": {}, "tid": {}, "ts": {:.1f}, "dur": {:.1f}}})", name,
      process_, row, microseconds(begin), length.count()));
}

// An "async" event of the format: pairs of begin and end with a number of their own.
void Timeline::overlapping_span(std::string_view name, Clock::time_point begin,
                                Clock::time_point end) {
  const int64_t id = num_overlapping_++;
  for (const auto& [phase, time] : {std::pair{'b', begin}, std::pair{'e', end}}) {
    write(fmt::format(
        R"({{"ph": "{}", "cat": "ranks", "id": {}, "name": "{}", "pid": {}, "tid": 0, "ts": {:.1f}}})",
        phase, id, name, process_, microseconds(time)));
  }
}

double Timeline::microseconds(Clock::time_point time) const {
  return std::chrono::duration<double, std::micro>(time - start_).count();
}

void Timeline::write(std::string_view event) {
  const std::lock_guard lock(mutex_);
  file_ << event << ",\n" << std::flush;
}

}  // namespace leash
