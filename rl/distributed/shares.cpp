#include "rl/distributed/shares.h"

#include <algorithm>
#include <numeric>

namespace leash {

std::vector<std::vector<int64_t>> split_by_cost(std::span<const int64_t> costs, int64_t num_ranks) {
  std::vector<int64_t> order(costs.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](int64_t a, int64_t b) { return costs[a] > costs[b]; });
  std::vector<std::vector<int64_t>> shares(static_cast<size_t>(num_ranks));
  std::vector<int64_t> loads(static_cast<size_t>(num_ranks), 0);
  for (const int64_t item : order) {
    const auto rank = std::ranges::min_element(loads) - loads.begin();
    shares[rank].push_back(item);
    loads[rank] += costs[item];
  }
  for (auto& share : shares) std::ranges::sort(share);
  return shares;
}

std::vector<int64_t> own_share(std::span<const int64_t> costs, const Communicator& communicator) {
  return split_by_cost(costs, communicator.size())[static_cast<size_t>(communicator.rank())];
}

}  // namespace leash
