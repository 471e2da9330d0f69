// How much memory this process has in use, as Linux counts it.
#pragma once

#include <cstdint>

#include "rl/statistics/metrics.h"

namespace leash {

struct MemoryUsage {
  int64_t resident = 0;  // bytes now (VmRSS)
  int64_t peak = 0;      // bytes at most since the start (VmHWM)
};

// Zeros where /proc/self/status cannot be read.
MemoryUsage memory_usage();
inline int64_t peak_memory_bytes() { return memory_usage().peak; }

// What this process's tensors took of all GPUs at most, each GPU at its own worst time; 0 where it
// uses none.
int64_t peak_gpu_bytes();

// Both, in 10⁶ bytes, as perf/peak_memory_mb and (with a GPU) perf/peak_gpu_memory_mb.
void add_memory(Metrics& metrics);

}  // namespace leash
