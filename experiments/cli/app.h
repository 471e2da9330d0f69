// Finds the command that the user asked for, runs it, and turns errors into exit codes.
#pragma once

#include <exception>
#include <string>
#include <vector>

namespace leash::cli {

// What the shell sees. 130 is the convention for "ended by an interrupt".
enum ExitCode : int {
  kDone = 0,
  kRunFailed = 1,
  kBadConfiguration = 2,
  kBadFile = 3,
  kInterrupted = 130
};

// What went wrong, for the user: without stack traces, with memory named where that is what was
// short.
std::string failure_text(const std::exception& error);

int run_app(const std::vector<std::string>& args);

}  // namespace leash::cli
