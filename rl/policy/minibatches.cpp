#include "rl/policy/minibatches.h"

#include "models/random/random.h"
#include "rl/distributed/shares.h"

namespace leash {
namespace {

// Neighbours of one group as one unit of work, or each row alone.
std::vector<std::vector<int64_t>> units_of(const std::vector<int64_t>& rows, int64_t group_size) {
  std::vector<std::vector<int64_t>> units;
  for (const int64_t row : rows) {
    if (units.empty() || units.back().back() / group_size != row / group_size) units.emplace_back();
    units.back().push_back(row);
  }
  return units;
}

}  // namespace

std::vector<int64_t> minibatch_rows(const MinibatchPlan& plan, uint64_t seed, int64_t step,
                                    int64_t epoch, int64_t index) {
  const auto groups = draw_permutation(
      {seed, Purpose::minibatch, static_cast<uint64_t>(step), static_cast<uint64_t>(epoch)},
      plan.batch_size / plan.group_size);
  std::vector<int64_t> order;
  for (const int64_t group : groups) {
    for (int64_t i = 0; i < plan.group_size; ++i) order.push_back(group * plan.group_size + i);
  }
  const int64_t size = plan.batch_size / plan.num_mini_batches;
  return {order.begin() + index * size, order.begin() + (index + 1) * size};
}

std::vector<int64_t> own_rows(const Experience& experience, const std::vector<int64_t>& rows,
                              int64_t group_size, const Communicator& communicator) {
  auto units = units_of(rows, group_size);
  if (std::ssize(units) < communicator.size()) units = units_of(rows, 1);
  std::vector<int64_t> costs;
  for (const auto& unit : units) {
    int64_t cost = 0;
    for (const int64_t row : unit) {
      const Completion& answer = experience.answers[static_cast<size_t>(row)];
      cost += static_cast<int64_t>(answer.prompt_ids.size() + answer.token_ids.size()) - 1;
    }
    costs.push_back(cost);
  }
  std::vector<int64_t> own;
  for (const int64_t unit : own_share(costs, communicator)) {
    own.insert(own.end(), units[static_cast<size_t>(unit)].begin(),
               units[static_cast<size_t>(unit)].end());
  }
  return own;
}

}  // namespace leash
