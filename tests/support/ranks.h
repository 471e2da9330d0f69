// Several ranks of one run as real processes on this machine.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/process.h"

namespace leash::testing {

// A TCP port of 127.0.0.1 that nobody listened on when asked.
int64_t free_port();

// What torchrun would put into the environment of `rank`; one thread per operation.
std::map<std::string, std::string> rank_environment(int64_t rank, int64_t size, int64_t port);

// `command` once per rank, started together.
class Ranks {
 public:
  Ranks(const std::vector<std::string>& command, int64_t size, ProcessOptions options = {});
  Process& operator[](int64_t rank) { return *processes_[static_cast<size_t>(rank)]; }
  std::vector<Ended> wait();

 private:
  std::vector<std::unique_ptr<Process>> processes_;
};

}  // namespace leash::testing
