// SIGINT, SIGTERM and SIGHUP: the first asks the run to finish its step, write a snapshot and exit
// with 130; one more than a second later, or the grace time after SIGTERM running out, ends the
// process at once. Launchers and `timeout` send a signal twice, or pass Ctrl-C on as SIGTERM: what
// comes within a second is one request.
#pragma once

#include <csignal>
#include <cstdint>
#include <string>

namespace leash {

inline constexpr int kInterruptedExit = 130;

// Writing to a pipe that nobody reads, or beyond a file's greatest size, is an error from here on
// and no longer the end of the process. Who starts a program gives it the defaults again
// (rl/judges/program.cpp): an ignored signal stays ignored in it.
void ignore_write_signals();

// One at a time per process. SIGHUP stays ignored where it was, as under nohup. The trainer asks
// requested() between steps (and may ask within one).
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
  struct sigaction old_hangup_;
  struct sigaction old_alarm_;
};

}  // namespace leash
