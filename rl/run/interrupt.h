// SIGINT and SIGTERM: the first asks the run to finish its step, write a snapshot and exit with
// 130; a second one, or the grace time after SIGTERM running out, ends the process at once.
#pragma once

#include <csignal>
#include <cstdint>
#include <string>

namespace leash {

inline constexpr int kInterruptedExit = 130;

// One at a time per process. The trainer asks requested() between steps (and may ask within one).
class InterruptGuard {
 public:
  // `grace_seconds` 0: the first signal ends the process at once.
  explicit InterruptGuard(int64_t grace_seconds);
  // Restores the handlers that were there before.
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  bool requested() const;
  // What is printed when the process ends at once, e.g. "the last snapshot is runs/x/snapshots/
  // step-20; go on with: leash train … --resume". Cut at 1000 bytes.
  void set_farewell(const std::string& text);

 private:
  struct sigaction old_int_;
  struct sigaction old_term_;
  struct sigaction old_alarm_;
};

}  // namespace leash
