#include "rl/reward/program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <memory>
#include <optional>
#include <stdexcept>
#include <system_error>

namespace leash {
namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void throw_errno(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }  // -1 once closed, which poll passes over
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) throw_errno("pipe");
    read = std::make_unique<Descriptor>(ends[0]);
    write = std::make_unique<Descriptor>(ends[1]);
  }
  std::unique_ptr<Descriptor> read, write;
};

// Blocks SIGPIPE in this thread, so that a program that stops reading is an error and not our end.
class NoPipeSignal {
 public:
  NoPipeSignal() {
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &before_);
  }
  ~NoPipeSignal() {
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    const timespec now{};
    while (sigtimedwait(&pipe, nullptr, &now) > 0) {
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t before_{};
};

// A shell with `input` and `output` for its standard ones and nothing else of ours but standard
// error; in process group `group`, 0 for one of its own. -1 as `output` is /dev/null.
pid_t spawn_shell(const std::string& command, int input, int output, pid_t group) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  if (output >= 0) {
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  } else {
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  }
  posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  posix_spawnattr_setpgroup(&attributes, group);
  sigset_t signals;
  sigemptyset(&signals);
  posix_spawnattr_setsigmask(&attributes, &signals);
  for (const int ours : {SIGPIPE, SIGXFSZ, SIGCHLD})
    sigaddset(&signals, ours);  // may be ignored here
  posix_spawnattr_setsigdefault(&attributes, &signals);
  const std::array<const char*, 4> arguments = {"sh", "-c", command.c_str(), nullptr};
  pid_t child = 0;
  const int error = posix_spawn(&child, "/bin/sh", &actions, &attributes,
                                const_cast<char* const*>(arguments.data()), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) throw std::system_error(error, std::generic_category(), "starting " + command);
  return child;
}

void reap(pid_t child) {
  while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
}

// A process group apart from ours: Ctrl-C asks leash to finish its step, for which it needs the
// program's answer. Its leader is a guard, which reads from a pipe that we alone could write to: it
// hears of our end whatever ended us, and kills the group.
class ProcessGroup {
 public:
  ProcessGroup() : guard_(spawn_shell("read -r _; kill -9 0", lifeline_.read->get(), -1, 0)) {
    lifeline_.read->close();
  }
  ~ProcessGroup() {
    kill(-guard_, SIGKILL);
    if (program_ > 0) reap(program_);
    reap(guard_);
  }
  ProcessGroup(const ProcessGroup&) = delete;
  ProcessGroup& operator=(const ProcessGroup&) = delete;

  void start(const std::string& command, int input, int output) {
    program_ = spawn_shell(command, input, output, guard_);
  }
  // Its status as waitpid has it, once it has ended or was stopped.
  std::optional<int> status() {
    int status = 0;
    const pid_t changed = waitpid(program_, &status, WNOHANG | WUNTRACED);
    if (changed < 0 && errno != EINTR) throw_errno("waiting for a reward command");
    if (changed <= 0) return std::nullopt;
    if (!WIFSTOPPED(status)) program_ = 0;  // gone
    return status;
  }

 private:
  Pipe lifeline_;
  pid_t guard_;
  pid_t program_ = 0;
};

// What goes to the program and what comes back, as far as either side is ready.
class Exchange {
 public:
  Exchange(std::string_view input, size_t limit) : rest_(input), limit_(limit) {
    for (const Descriptor* ours : {to.write.get(), from.read.get()}) {
      fcntl(ours->get(), F_SETFL, O_NONBLOCK);
    }
    if (rest_.empty()) to.write->close();
  }

  // Waits for this long at most.
  void go_on(int milliseconds) {
    std::array<pollfd, 2> ends = {pollfd{from.read->get(), POLLIN, 0},
                                  pollfd{to.write->get(), POLLOUT, 0}};
    if (poll(ends.data(), ends.size(), milliseconds) < 0 && errno != EINTR) throw_errno("poll");
    if (ends[1].revents != 0) write_some();
    if (ends[0].revents != 0) read_some();
  }
  // What the program printed before its end. A child that it left behind may keep the pipe open.
  void read_rest() {
    while (from.read->get() >= 0 && read_some()) {
    }
  }
  bool reads() const { return from.read->get() >= 0; }
  std::string take() { return std::move(output_); }

  Pipe to, from;

 private:
  void write_some() {
    const ssize_t written = write(to.write->get(), rest_.data(), rest_.size());
    if (written > 0) rest_.remove_prefix(static_cast<size_t>(written));
    const bool again = written < 0 && (errno == EAGAIN || errno == EINTR);
    if (rest_.empty() || (written < 0 && !again)) to.write->close();
  }
  // False when there is nothing more for now.
  bool read_some() {
    std::array<char, 65536> buffer;
    const ssize_t count = read(from.read->get(), buffer.data(), buffer.size());
    if (count > 0) output_.append(buffer.data(), static_cast<size_t>(count));
    if (output_.size() > limit_) {
      throw std::runtime_error(fmt::format("printed more than {} bytes", limit_));
    }
    const bool again = count < 0 && (errno == EAGAIN || errno == EINTR);
    if (count <= 0 && !again) from.read->close();
    return count > 0;
  }

  std::string_view rest_;
  size_t limit_;
  std::string output_;
};

// Milliseconds between two looks at whether the program has ended; once it has closed its output,
// that is all there is to wait for.
constexpr int kLook = 20;
constexpr int kLookForEnd = 1;

void require_success(int status) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
  if (WIFEXITED(status)) {
    throw std::runtime_error(fmt::format("ended with {}", WEXITSTATUS(status)));
  }
  throw std::runtime_error(WIFSTOPPED(status)
                               ? fmt::format("was stopped by signal {}", WSTOPSIG(status))
                               : fmt::format("was killed by signal {}", WTERMSIG(status)));
}

std::string converse(const std::string& command, std::string_view input,
                     const ProgramLimits& limits) {
  const NoPipeSignal no_signal;
  const auto begin = Clock::now();
  Exchange exchange(input, limits.output_bytes);
  ProcessGroup group;
  group.start(command, exchange.to.read->get(), exchange.from.write->get());
  exchange.to.read->close();
  exchange.from.write->close();
  std::optional<int> status;
  while (!(status = group.status())) {
    if (Clock::now() - begin > std::chrono::duration<double>(limits.seconds)) {
      throw std::runtime_error(
          fmt::format("did not end within {} s (timeout_seconds)", limits.seconds));
    }
    exchange.go_on(exchange.reads() ? kLook : kLookForEnd);
  }
  exchange.read_rest();
  require_success(*status);
  return exchange.take();
}

}  // namespace

std::string run_program(const std::string& command, std::string_view input,
                        const ProgramLimits& limits) {
  try {
    return converse(command, input, limits);
  } catch (const std::system_error&) {
    throw;  // is no fault of the program
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(fmt::format("the reward command `{}` {}", command, error.what()));
  }
}

}  // namespace leash
