// VmRSS and VmHWM of /proc/self/status, which gives them in kB.
#include "rl/memory_usage.h"

#include <fstream>
#include <string>

namespace leash {

MemoryUsage memory_usage() {
  MemoryUsage usage;
  std::ifstream status("/proc/self/status");
  for (std::string key; status >> key; status.ignore(1 << 16, '\n')) {
    int64_t* const value = key == "VmRSS:"   ? &usage.resident
                           : key == "VmHWM:" ? &usage.peak
                                             : nullptr;
    if (value != nullptr && status >> *value) *value *= 1024;
  }
  return usage;
}

}  // namespace leash
