// Parts of frozen weights over LibTorch's c10d, in a process group of their own, so that gathers
// run beside the sums of gradients.
#pragma once

#include <memory>

#include "models/weight_gatherer.h"
#include "rl/distributed/c10d_backend.h"
#include "rl/distributed/c10d_waits.h"

namespace leash {

// `backend` is for this alone. Parts travel through memory of `device`; what is gathered lies where
// the parts do.
std::unique_ptr<WeightGatherer> c10d_gatherer(C10dBackend backend, at::Device device,
                                              std::shared_ptr<PeerWatch> watch,
                                              const Launch& launch);

}  // namespace leash
