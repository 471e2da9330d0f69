// Progress for the user: a rewritten line on a terminal, plain lines in a pipe.
#include "rl/run/console.h"

#include <fmt/core.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <iterator>
#include <utility>

#include "models/printable.h"

namespace leash {
namespace {

constexpr std::string_view kClearLine = "\r\x1b[K";

bool is_terminal(int descriptor) {
  const char* term = std::getenv("TERM");
  return ::isatty(descriptor) == 1 && term != nullptr && std::string_view(term) != "dumb";
}

size_t columns_of(int descriptor) {
  winsize size = {};
  const bool known = ::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  return known ? size.ws_col : 80;
}

// The first bytes of a line, not ending within a UTF-8 sequence. Wide letters may count too many.
std::string_view cut_to(std::string_view text, size_t bytes) {
  if (text.size() <= bytes) return text;
  while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xC0) == 0x80) --bytes;
  return text.substr(0, bytes);
}

}  // namespace

Console::Console() : Console(STDERR_FILENO, is_terminal(STDERR_FILENO)) {}

Console::Console(int descriptor, bool terminal) : descriptor_(descriptor), terminal_(terminal) {}

Console::~Console() { finish(); }

void Console::message(std::string_view text) {
  const std::lock_guard lock(mutex_);
  const bool redrawn = terminal_ && !line_.empty();
  write(fmt::format("{}{}\n", redrawn ? kClearLine : "", printable_lines(text)));
  if (redrawn) redraw();
}

void Console::progress(const std::string& text, bool print_line) {
  const std::lock_guard lock(mutex_);
  line_ = text;
  phase_.clear();
  if (terminal_) {
    redraw();
  } else if (print_line) {
    write(text + "\n");
  }
}

void Console::phase(std::string_view text) {
  const std::lock_guard lock(mutex_);
  phase_ = text;
  if (observer_) observer_(text);
  if (terminal_) redraw();
}

void Console::observe_phases(std::function<void(std::string_view)> observer) {
  const std::lock_guard lock(mutex_);
  observer_ = std::move(observer);
}

void Console::finish() {
  const std::lock_guard lock(mutex_);
  if (terminal_ && !(line_.empty() && phase_.empty())) write("\n");
  line_.clear();
  phase_.clear();
}

void Console::redraw() {
  const std::string whole = line_ + (line_.empty() || phase_.empty() ? "" : "  ") + phase_;
  write(fmt::format("\r{}\x1b[K", cut_to(whole, columns_of(descriptor_) - 1)));
}

// A console that is gone must not end the run: errors are ignored.
void Console::write(std::string_view text) {
  while (descriptor_ >= 0 && !text.empty()) {
    const ssize_t written = ::write(descriptor_, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    text.remove_prefix(static_cast<size_t>(written));
  }
}

std::string progress_text(int64_t step, int64_t total_steps, const Metrics& metrics,
                          const std::vector<ConsoleColumn>& columns,
                          std::optional<double> seconds_left) {
  std::string text =
      total_steps > 0 ? fmt::format("step {}/{}", step, total_steps) : fmt::format("step {}", step);
  for (const ConsoleColumn& column : columns) {
    const auto found = std::find_if(metrics.begin(), metrics.end(), [&](const auto& metric) {
      return metric.first == column.metric;
    });
    if (found == metrics.end()) continue;
    fmt::format_to(std::back_inserter(text), "  {} {:.4g}", column.label, found->second);
  }
  if (seconds_left) text += fmt::format("  {} left", duration_text(*seconds_left));
  return text;
}

std::string duration_text(double seconds) {
  if (!(seconds >= 0) || seconds > 1e9) return "?";
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {} s", whole / 60, whole % 60);
  return fmt::format("{} h {} min", whole / 3600, whole / 60 % 60);
}

}  // namespace leash
