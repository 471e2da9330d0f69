// Progress for the user: on a terminal one line that is rewritten, in a pipe plain lines.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rl/statistics/metrics.h"

namespace leash {

struct ConsoleColumn {
  std::string label;   // "KL"
  std::string metric;  // "objective/kl"
};

class Console {
 public:
  // On standard error; a terminal when it is one (and TERM is not "dumb").
  Console();
  // For tests, and for processes that should stay silent (descriptor -1).
  Console(int descriptor, bool terminal);
  ~Console();
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;

  bool terminal() const { return terminal_; }
  // A line of its own; the progress line stays below it.
  void message(std::string_view text);
  // Rewrites the progress line (terminal) and ends the phase, or prints it as a line when
  // `print_line` (pipe).
  void progress(const std::string& text, bool print_line);
  // What goes on inside a long step ("sampling 12/32"), behind the progress line; terminal only.
  void phase(std::string_view text);
  // `observer` hears of every phase, on any console.
  void observe_phases(std::function<void(std::string_view)> observer);
  // Ends the progress line, so that what others print begins on a line of its own.
  void finish();

 private:
  void redraw();
  void write(std::string_view text);

  std::mutex mutex_;  // lanes report their phases from their own threads
  int descriptor_;
  bool terminal_;
  std::string line_;
  std::string phase_;
  std::function<void(std::string_view)> observer_;
};

// "step 12/40  reward 1.25  KL 0.31  3 min 5 s left"; a metric that is missing is left out.
std::string progress_text(int64_t step, int64_t total_steps, const Metrics& metrics,
                          const std::vector<ConsoleColumn>& columns,
                          std::optional<double> seconds_left);
// "45 s", "3 min 5 s", "2 h 10 min".
std::string duration_text(double seconds);

}  // namespace leash
