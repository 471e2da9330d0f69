// NCCL's process group; compiled in builds with CUDA that found nccl.h.
#ifdef LEASH_NCCL
#ifndef USE_C10D_NCCL  // the wheel's CMake package defines it
#define USE_C10D_NCCL
#endif
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include "rl/distributed/c10d_backend.h"

namespace leash {

C10dBackend make_nccl(const C10dStore& store, const Launch& launch,
                      std::chrono::milliseconds timeout) {
  const auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = timeout;
  auto group = c10::make_intrusive<c10d::ProcessGroupNCCL>(store, static_cast<int>(launch.rank),
                                                           static_cast<int>(launch.size), options);
  group->eagerConnectSingleDevice(
      at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(launch.local_rank)));
  return group;
}

}  // namespace leash
#endif
