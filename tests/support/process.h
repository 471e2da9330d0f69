// Programs as real processes: what they print, how they end, signals on the way.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/files.h"

namespace leash::testing {

struct ProcessOptions {
  std::string input{};                               // standard input
  std::filesystem::path folder{};                    // working folder (default: the test's own)
  std::map<std::string, std::string> environment{};  // on top of the test's own
  std::optional<uint64_t> max_file_bytes{};          // RLIMIT_FSIZE
  std::vector<int> closed{};                         // of the descriptors 0, 1 and 2
  double timeout_seconds = 120;                      // then it is killed
};

struct Ended {
  int code = -1;   // exit code; -1 when a signal ended it
  int signal = 0;  // that ended it
  bool timed_out = false;
  std::string out{};
  std::string err{};
};

class Process {
 public:
  explicit Process(const std::vector<std::string>& command, ProcessOptions options = {});
  ~Process();  // kills it when it still runs
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void signal(int number) const;
  pid_t pid() const { return pid_; }
  bool running();
  Ended wait();
  // Looks every millisecond until `condition` holds; false when the process ended (or the time ran
  // out) before.
  bool wait_until(const std::function<bool()>& condition);

 private:
  ProcessOptions options_;
  ScratchFolder scratch_;
  pid_t pid_ = -1;
  std::optional<int> status_;
};

// Whether a process that may not be our child has ended (and perhaps waits for its parent to hear
// of it), and whether it does within five seconds.
bool ended_already(pid_t process);
bool ends_soon(pid_t process);

// The built binary with one thread per operation (OMP_NUM_THREADS), run to its end.
Ended run_leash(const std::vector<std::string>& args, ProcessOptions options = {});
std::vector<std::string> leash_command(const std::vector<std::string>& args);

}  // namespace leash::testing
