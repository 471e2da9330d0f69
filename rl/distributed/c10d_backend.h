// The process groups of c10d, one per source file, because their headers are slow to compile and
// NCCL's needs CUDA.
#pragma once

#include <chrono>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "rl/distributed/launch.h"

namespace leash {

using C10dStore = c10::intrusive_ptr<c10d::Store>;
using C10dBackend = c10::intrusive_ptr<c10d::Backend>;

// Connects this rank with all others; returns when every rank did so. Gloo listens at the address
// from which this machine reaches rank 0's (where that is itself: from which it reaches the
// others), or on the interface GLOO_SOCKET_IFNAME. `meeting_timeout` is that of connecting.
C10dBackend make_gloo(const C10dStore& store, const Launch& launch,
                      std::chrono::milliseconds meeting_timeout, std::chrono::milliseconds timeout);
// In builds with NCCL. The GPU is number local_rank.
C10dBackend make_nccl(const C10dStore& store, const Launch& launch,
                      std::chrono::milliseconds timeout);

}  // namespace leash
