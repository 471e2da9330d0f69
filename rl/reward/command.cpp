#include "rl/reward/command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string_view>
#include <system_error>

namespace leash {
namespace {

[[noreturn]] void throw_errno(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
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

pid_t start(const std::string& command, int input, int output) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  // A group of its own: Ctrl-C asks leash to finish its step, for which it needs these scores.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  posix_spawnattr_setpgroup(&attributes, 0);
  const std::array<const char*, 4> arguments = {"sh", "-c", command.c_str(), nullptr};
  pid_t child = 0;
  const int error = posix_spawn(&child, "/bin/sh", &actions, &attributes,
                                const_cast<char* const*>(arguments.data()), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) throw std::system_error(error, std::generic_category(), "starting " + command);
  return child;
}

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

// Writes `text` and reads what comes back, whichever is possible, until the program closes its end.
std::string converse(Pipe& to, Pipe& from, std::string_view text) {
  const NoPipeSignal guard;
  fcntl(to.write->get(), F_SETFL, O_NONBLOCK);
  std::string answer;
  if (text.empty()) to.write->close();
  while (true) {
    std::array<pollfd, 2> ends = {pollfd{from.read->get(), POLLIN, 0},
                                  pollfd{to.write->get(), POLLOUT, 0}};
    if (poll(ends.data(), to.write->get() >= 0 ? 2 : 1, -1) < 0) {
      if (errno == EINTR) continue;
      throw_errno("poll");
    }
    if (to.write->get() >= 0 && ends[1].revents != 0) {
      const ssize_t written = write(to.write->get(), text.data(), text.size());
      if (written > 0) text.remove_prefix(static_cast<size_t>(written));
      const bool again = written < 0 && (errno == EAGAIN || errno == EINTR);
      if (text.empty() || (written < 0 && !again)) to.write->close();
    }
    if (ends[0].revents != 0) {
      std::array<char, 65536> buffer;
      const ssize_t count = read(from.read->get(), buffer.data(), buffer.size());
      if (count > 0) answer.append(buffer.data(), static_cast<size_t>(count));
      if (count == 0 || (count < 0 && errno != EINTR)) return answer;
    }
  }
}

void require_success(pid_t child, const std::string& command) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
  throw std::runtime_error(fmt::format("the reward command `{}` {} {}", command,
                                       WIFEXITED(status) ? "ended with" : "was killed by signal",
                                       WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status)));
}

std::vector<double> numbers(const std::string& text, const std::string& command) {
  std::vector<double> scores;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    char* rest = nullptr;
    const double value = std::strtod(line.c_str(), &rest);
    const bool whole = rest != line.c_str() &&
                       std::string_view(rest).find_first_not_of(" \t\r") == std::string_view::npos;
    if (!whole || !std::isfinite(value)) {
      throw std::runtime_error(
          fmt::format("the reward command `{}` printed `{}` where a number was expected", command,
                      line.substr(0, 80)));
    }
    scores.push_back(value);
    begin = end + 1;
  }
  return scores;
}

}  // namespace

std::vector<double> CommandReward::score(const std::vector<RewardSample>& samples) const {
  if (samples.empty()) return {};  // a rank may have none
  std::string lines;
  for (const RewardSample& sample : samples) {
    lines +=
        nlohmann::ordered_json{
            {"prompt", sample.prompt}, {"answer", sample.answer}, {"ended", sample.ended}}
            .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) +
        "\n";
  }
  Pipe to, from;
  const pid_t child = start(command_, to.read->get(), from.write->get());
  to.read->close();
  from.write->close();
  const std::string answer = converse(to, from, lines);
  require_success(child, command_);
  std::vector<double> scores = numbers(answer, command_);
  if (scores.size() != samples.size()) {
    throw std::runtime_error(
        fmt::format("the reward command `{}` printed {} numbers for {} answers", command_,
                    scores.size(), samples.size()));
  }
  return scores;
}

}  // namespace leash
