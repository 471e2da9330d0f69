// The Communicator over LibTorch's c10d: Gloo on CPUs, NCCL on GPUs.
#pragma once

#include <cstdint>
#include <memory>

#include "rl/distributed/communicator.h"
#include "rl/distributed/launch.h"

namespace leash {

// Waits for all ranks of `launch` (its size is above 1), at most `meeting_seconds`. `backend` is
// gloo or nccl. Every wait of the communicator ends after `timeout_seconds`, and within seconds
// when a rank is known to be gone (see PeerWatch). CommunicationError when the ranks do not meet.
std::unique_ptr<Communicator> meet(CommunicationBackend backend, const Launch& launch,
                                   int64_t meeting_seconds, int64_t timeout_seconds);

}  // namespace leash
