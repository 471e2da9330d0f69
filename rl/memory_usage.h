// How much memory this process has in use, as Linux counts it.
#pragma once

#include <cstdint>

namespace leash {

struct MemoryUsage {
  int64_t resident = 0;  // bytes now (VmRSS)
  int64_t peak = 0;      // bytes at most since the start (VmHWM)
};

// Zeros where /proc/self/status cannot be read.
MemoryUsage memory_usage();
inline int64_t peak_memory_bytes() { return memory_usage().peak; }

}  // namespace leash
