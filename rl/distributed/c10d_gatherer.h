// Parts of frozen weights over LibTorch's c10d, in a process group of their own, so that gathers
// run beside the sums of gradients.
#pragma once

#include <memory>

#include "models/weights/weight_gatherer.h"
#include "rl/distributed/c10d_backend.h"
#include "rl/distributed/c10d_waits.h"

namespace leash {

// Process groups for gathers alone; `words`, between CPUs, may be the same as `parts`.
struct GatherBackends {
  C10dBackend parts;
  C10dBackend words;
};

// Parts travel through memory of `device`: the CPU's, or that of NCCL's GPU. They may be on any
// device; what is gathered lies where they do.
std::unique_ptr<WeightGatherer> c10d_gatherer(GatherBackends backends, at::Device device,
                                              std::shared_ptr<PeerWatch> watch,
                                              const Launch& launch);

}  // namespace leash
