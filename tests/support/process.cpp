#include "tests/support/process.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <thread>

extern char** environ;  // NOLINT

namespace leash::testing {
namespace {

using Clock = std::chrono::steady_clock;

std::vector<std::string> merged_environment(const std::map<std::string, std::string>& changes) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (!changes.contains(text.substr(0, text.find('=')))) all.push_back(text);
  }
  for (const auto& [name, value] : changes) all.push_back(name + "=" + value);
  return all;
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> list;
  for (const std::string& text : texts) list.push_back(const_cast<char*>(text.c_str()));
  list.push_back(nullptr);
  return list;
}

void redirect(const char* file, int flags, int descriptor) {
  const int opened = ::open(file, flags, 0600);
  if (opened < 0 || ::dup2(opened, descriptor) < 0) ::_exit(126);
  ::close(opened);
}

}  // namespace

Process::Process(const std::vector<std::string>& command, ProcessOptions options)
    : options_(std::move(options)) {
  const std::vector<std::string> environment = merged_environment(options_.environment);
  const std::vector<char*> argv = pointers(command);
  const std::vector<char*> envp = pointers(environment);
  write_text(scratch_ / "in", options_.input);
  const std::string in = scratch_ / "in", out = scratch_ / "out", err = scratch_ / "err";
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("cannot fork");
  if (pid_ > 0) return;
  // The child: only calls that are safe after a fork.
  redirect(in.c_str(), O_RDONLY, 0);
  redirect(out.c_str(), O_WRONLY | O_CREAT, 1);
  redirect(err.c_str(), O_WRONLY | O_CREAT, 2);
  for (const int descriptor : options_.closed) ::close(descriptor);
  if (!options_.folder.empty() && ::chdir(options_.folder.c_str()) != 0) ::_exit(126);
  if (options_.max_file_bytes) {
    const rlimit limit{*options_.max_file_bytes, *options_.max_file_bytes};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(126);
  }
  ::execve(argv[0], argv.data(), envp.data());
  ::_exit(127);
}

Process::~Process() {
  if (running()) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
}

void Process::signal(int number) const {
  if (!status_) ::kill(pid_, number);
}

bool Process::running() {
  if (status_) return false;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) != pid_) return true;
  status_ = status;
  return false;
}

bool Process::wait_until(const std::function<bool()>& condition) {
  const auto end = Clock::now() + std::chrono::duration<double>(options_.timeout_seconds);
  while (!condition()) {
    if (!running() || Clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

Ended Process::wait() {
  Ended ended;
  ended.timed_out = !wait_until([this] { return !running(); }) && running();
  if (ended.timed_out) {
    ::kill(pid_, SIGKILL);
    int status = 0;
    ::waitpid(pid_, &status, 0);
    status_ = status;
  }
  if (WIFEXITED(*status_)) ended.code = WEXITSTATUS(*status_);
  if (WIFSIGNALED(*status_)) ended.signal = WTERMSIG(*status_);
  ended.out = read_text(scratch_ / "out");
  ended.err = read_text(scratch_ / "err");
  return ended;
}

std::vector<std::string> leash_command(const std::vector<std::string>& args) {
  std::vector<std::string> command = {LEASH_BINARY};
  command.insert(command.end(), args.begin(), args.end());
  return command;
}

bool ended_already(pid_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/stat");
  std::string stat;
  return !std::getline(file, stat) || stat.find(") Z ") != std::string::npos;
}

bool ends_soon(pid_t process) {
  const auto begin = Clock::now();
  while (!ended_already(process)) {
    if (Clock::now() - begin > std::chrono::seconds(5)) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

Ended run_leash(const std::vector<std::string>& args, ProcessOptions options) {
  options.environment.emplace("OMP_NUM_THREADS", "1");
  Process process(leash_command(args), std::move(options));
  return process.wait();
}

}  // namespace leash::testing
