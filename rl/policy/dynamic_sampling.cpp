#include "rl/policy/dynamic_sampling.h"

#include <ATen/ops/tensor.h>

#include <algorithm>
#include <utility>

#include "rl/policy/group_advantages.h"

namespace leash {
namespace {

std::vector<bool> flat_groups_of(const std::vector<JudgedAnswer>& judged, int64_t group_size) {
  std::vector<double> scores;
  for (const JudgedAnswer& answer : judged) scores.push_back(answer.score);
  return flat_groups(at::tensor(scores, at::kDouble), group_size);
}

}  // namespace

int64_t num_groups_with_signal(const std::vector<JudgedAnswer>& judged, int64_t group_size) {
  const std::vector<bool> flat = flat_groups_of(judged, group_size);
  return std::ranges::count(flat, false);
}

std::vector<JudgedAnswer> choose_groups(std::vector<JudgedAnswer> judged, int64_t group_size,
                                        int64_t wanted) {
  const std::vector<bool> flat = flat_groups_of(judged, group_size);
  std::vector<size_t> order;
  for (const bool without_signal : {false, true}) {
    for (size_t group = 0; group < flat.size(); ++group) {
      if (flat[group] == without_signal) order.push_back(group);
    }
  }
  std::vector<JudgedAnswer> chosen;
  for (int64_t i = 0; i < wanted; ++i) {
    for (int64_t j = 0; j < group_size; ++j) {
      const size_t row = order.at(static_cast<size_t>(i)) * static_cast<size_t>(group_size);
      chosen.push_back(std::move(judged.at(row + static_cast<size_t>(j))));
      chosen.back().answer.sample = static_cast<uint64_t>(i * group_size + j);
    }
  }
  return chosen;
}

}  // namespace leash
