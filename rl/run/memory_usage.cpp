// VmRSS and VmHWM of /proc/self/status, which gives them in kB.
#include "rl/run/memory_usage.h"

#include <fstream>
#include <string>

#ifdef LEASH_CUDA
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#endif

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

int64_t peak_gpu_bytes() {
  int64_t bytes = 0;
#ifdef LEASH_CUDA
  if (!c10::cuda::CUDACachingAllocator::get()->initialized()) return 0;
  for (c10::DeviceIndex i = 0; i < c10::cuda::device_count(); ++i) {
    bytes += c10::cuda::CUDACachingAllocator::getDeviceStats(i).allocated_bytes[0].peak;
  }
#endif
  return bytes;
}

void add_memory(Metrics& metrics) {
  metrics.emplace_back("perf/peak_memory_mb", static_cast<double>(peak_memory_bytes()) / 1e6);
  const int64_t gpus = peak_gpu_bytes();
  if (gpus > 0) metrics.emplace_back("perf/peak_gpu_memory_mb", static_cast<double>(gpus) / 1e6);
}

}  // namespace leash
