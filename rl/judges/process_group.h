// A program of the user's as a process group of its own.
#pragma once

#include <sys/types.h>

#include <csignal>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace leash {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }  // -1 once closed, which poll passes over
  void close();

 private:
  int fd_;
};

struct Pipe {
  Pipe();
  std::unique_ptr<Descriptor> read, write;
};

// Blocks SIGPIPE in this thread, so that a program that stops reading is an error and not our end.
class NoPipeSignal {
 public:
  NoPipeSignal();
  ~NoPipeSignal();
  NoPipeSignal(const NoPipeSignal&) = delete;
  NoPipeSignal& operator=(const NoPipeSignal&) = delete;

 private:
  sigset_t before_{};
};

// How a program is started.
struct ProgramPlace {
  std::filesystem::path folder = {};              // its working folder; empty: ours
  std::optional<std::filesystem::path> log = {};  // what it says on standard error is added to it;
                                                  // none: it has ours
};

// A process group apart from ours: Ctrl-C asks leash to finish its step, for which it needs the
// program's answer. Its leader is a guard, which reads from a pipe that we alone could write to: it
// hears of our end whatever ended us, and kills the group. So does the destructor.
class ProcessGroup {
 public:
  ProcessGroup();
  ~ProcessGroup();
  ProcessGroup(const ProcessGroup&) = delete;
  ProcessGroup& operator=(const ProcessGroup&) = delete;

  // Runs `command` in a shell with these ends of pipes for its standard input and output and no
  // other descriptor of ours. std::system_error where it cannot be started.
  void start(const std::string& command, int input, int output, const ProgramPlace& place);
  // Its status as waitpid has it, once it has ended (from then on) or was stopped.
  std::optional<int> status();

 private:
  Pipe lifeline_;
  pid_t guard_;
  pid_t program_ = 0;
  std::optional<int> ended_;
};

// "ended with 3", "was killed by signal 9", "was stopped by signal 19".
std::string status_text(int status);

}  // namespace leash
