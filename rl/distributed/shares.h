// How the ranks of a run split work.
#pragma once

#include <c10/util/Exception.h>

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "rl/distributed/communicator.h"

namespace leash {

// Items with costs, split so that the dearest share is cheap: the dearest item goes first, each
// to the rank with the least so far (Graham 1969, longest processing time first); ties go to the
// earlier item and the lower rank. Returns the indices of each rank's items, rising; a rank may get
// none. A pure function of its arguments; one rank gets all in their order.
std::vector<std::vector<int64_t>> split_by_cost(std::span<const int64_t> costs, int64_t num_ranks);

// This rank's share of it.
std::vector<int64_t> own_share(std::span<const int64_t> costs, const Communicator& communicator);

// What every rank found out about its share of the items, in the order of the items. All ranks call
// it with equal costs.
template <class T>
std::vector<T> gather_shares(std::span<const int64_t> costs, const std::vector<T>& own,
                             Communicator& communicator) {
  static_assert(std::is_trivially_copyable_v<T>);
  const auto everyones = communicator.all_gather(
      std::string(reinterpret_cast<const char*>(own.data()), own.size() * sizeof(T)));
  const auto shares = split_by_cost(costs, communicator.size());
  std::vector<T> all(costs.size());
  for (size_t rank = 0; rank < shares.size(); ++rank) {
    TORCH_CHECK(everyones[rank].size() == shares[rank].size() * sizeof(T), "rank ", rank,
                " has other items than this one expects");
    for (size_t i = 0; i < shares[rank].size(); ++i) {
      std::memcpy(&all[shares[rank][i]], everyones[rank].data() + i * sizeof(T), sizeof(T));
    }
  }
  return all;
}

}  // namespace leash
