// How the ranks of a run divide work among them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "rl/distributed/communicator.h"

namespace leash {

// Items with costs, divided so that the dearest share is cheap: the dearest item goes first, each
// to the rank with the least so far (Graham 1969, longest processing time first); ties go to the
// earlier item and the lower rank. Returns the indices of each rank's items, rising; a rank may get
// none. A pure function of its arguments; one rank gets all in their order.
std::vector<std::vector<int64_t>> divide(std::span<const int64_t> costs, int64_t num_ranks);

// This rank's share of it.
std::vector<int64_t> own_share(std::span<const int64_t> costs, const Communicator& communicator);

}  // namespace leash
