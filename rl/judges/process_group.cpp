#include "rl/judges/process_group.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

namespace leash {
namespace {

[[noreturn]] void throw_errno(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

void reap(pid_t child) {
  while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
}

// A file that is only added to, with what stands in it kept.
std::unique_ptr<Descriptor> open_log(const std::filesystem::path& file) {
  const int fd = ::open(file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (fd < 0) throw_errno("opening " + file.string());
  return std::make_unique<Descriptor>(fd);
}

// A shell with `input` and `output` for its standard ones and nothing else of ours but standard
// error, or a log in its place; in process group `group`, 0 for one of its own. -1 as `output` is
// /dev/null.
pid_t spawn_shell(const std::string& command, int input, int output, pid_t group,
                  const ProgramPlace& place = {}) {
  const auto log = place.log ? open_log(*place.log) : nullptr;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  if (output >= 0) {
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  } else {
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  }
  if (log) posix_spawn_file_actions_adddup2(&actions, log->get(), STDERR_FILENO);
  posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
  if (!place.folder.empty()) {
    posix_spawn_file_actions_addchdir_np(&actions, place.folder.c_str());
  }
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
  if (error != 0) {
    const std::string where = place.folder.empty() ? "" : " in " + place.folder.string();
    throw std::system_error(error, std::generic_category(), "starting `" + command + "`" + where);
  }
  return child;
}

}  // namespace

void Descriptor::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Pipe::Pipe() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) throw_errno("pipe");
  read = std::make_unique<Descriptor>(ends[0]);
  write = std::make_unique<Descriptor>(ends[1]);
}

NoPipeSignal::NoPipeSignal() {
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe, &before_);
}

NoPipeSignal::~NoPipeSignal() {
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  const timespec now{};
  while (sigtimedwait(&pipe, nullptr, &now) > 0) {
  }
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

ProcessGroup::ProcessGroup()
    : guard_(spawn_shell("read -r _; kill -9 0", lifeline_.read->get(), -1, 0)) {
  lifeline_.read->close();
}

ProcessGroup::~ProcessGroup() {
  kill(-guard_, SIGKILL);
  if (program_ > 0) reap(program_);
  reap(guard_);
}

void ProcessGroup::start(const std::string& command, int input, int output,
                         const ProgramPlace& place) {
  program_ = spawn_shell(command, input, output, guard_, place);
}

std::optional<int> ProcessGroup::status() {
  if (ended_) return ended_;
  int status = 0;
  const pid_t changed = waitpid(program_, &status, WNOHANG | WUNTRACED);
  if (changed < 0 && errno != EINTR) throw_errno("waiting for a reward command");
  if (changed <= 0) return std::nullopt;
  if (WIFSTOPPED(status)) return status;
  program_ = 0;  // gone
  return ended_ = status;
}

std::string status_text(int status) {
  if (WIFEXITED(status)) return fmt::format("ended with {}", WEXITSTATUS(status));
  return WIFSTOPPED(status) ? fmt::format("was stopped by signal {}", WSTOPSIG(status))
                            : fmt::format("was killed by signal {}", WTERMSIG(status));
}

}  // namespace leash
