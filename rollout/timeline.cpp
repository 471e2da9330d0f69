#include "rollout/timeline.h"

#include <fmt/format.h>

#include <cerrno>
#include <system_error>

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
  const std::chrono::duration<double, std::micro> from = begin - start_, length = end - begin;
  write(fmt::format(
      R"({{"ph": "X", "name": "{}", "pid": {}, "tid": {}, "ts": {:.1f}, "dur": {:.1f}}})", name,
      process_, row, from.count(), length.count()));
}

void Timeline::write(std::string_view event) {
  const std::lock_guard lock(mutex_);
  file_ << event << ",\n" << std::flush;
}

}  // namespace leash
