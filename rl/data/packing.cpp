#include "rl/data/packing.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "models/random/random.h"

namespace leash {
namespace {

void sort_by_falling_length(std::span<int64_t> indices, std::span<const int64_t> lengths) {
  std::ranges::stable_sort(indices, [&](int64_t a, int64_t b) { return lengths[a] > lengths[b]; });
}

}  // namespace

std::vector<std::vector<int64_t>> pack_best_fit(std::span<const int64_t> lengths,
                                                int64_t max_length) {
  TORCH_CHECK(max_length > 0, "rows have room for at least one token");
  std::vector<int64_t> order(lengths.size());
  std::iota(order.begin(), order.end(), 0);
  sort_by_falling_length(order, lengths);
  std::vector<std::vector<int64_t>> rows;
  std::multimap<int64_t, int64_t> rows_by_room;  // equal keys stay in the order of insertion
  for (const int64_t sample : order) {
    auto best = rows_by_room.lower_bound(lengths[sample]);
    int64_t row = static_cast<int64_t>(rows.size());
    int64_t room = max_length;
    if (best != rows_by_room.end()) {
      row = best->second;
      room = best->first;
      rows_by_room.erase(best);
    } else {
      rows.emplace_back();
    }
    rows[row].push_back(sample);
    if (room > lengths[sample]) rows_by_room.emplace(room - lengths[sample], row);
  }
  return rows;
}

BatchOrder::BatchOrder(std::vector<int64_t> row_lengths, const BatchOrderConfig& config)
    : lengths_(std::move(row_lengths)), config_(config) {
  TORCH_CHECK(!lengths_.empty(), "an order needs rows");
  TORCH_CHECK(config.batch_size > 0, "a batch has at least one row");
}

int64_t BatchOrder::batches_per_epoch() const {
  return (num_rows() + config_.batch_size - 1) / config_.batch_size;
}

std::vector<int64_t> BatchOrder::batch(int64_t step) const {
  TORCH_CHECK(step >= 0, "steps count from 0");
  const std::vector<int64_t> order = epoch_order(step / batches_per_epoch());
  const int64_t begin = step % batches_per_epoch() * config_.batch_size;
  const int64_t end = std::min(begin + config_.batch_size, num_rows());
  return {order.begin() + begin, order.begin() + end};
}

std::vector<int64_t> BatchOrder::epoch_order(int64_t epoch) const {
  if (!config_.shuffle) {
    std::vector<int64_t> order(lengths_.size());
    std::iota(order.begin(), order.end(), 0);
    return order;
  }
  std::vector<int64_t> order = draw_permutation(
      {.seed = config_.seed, .purpose = Purpose::shuffle, .a = static_cast<uint64_t>(epoch)},
      num_rows());
  if (!config_.group_by_length) return order;
  const int64_t batches = std::clamp<int64_t>(num_rows() / (config_.batch_size * 4), 1, 50);
  const int64_t stretch = batches * config_.batch_size;
  int64_t longest = 0;  // where the longest row of all stands; the first of equal ones
  for (int64_t begin = 0; begin < num_rows(); begin += stretch) {
    const int64_t count = std::min(stretch, num_rows() - begin);
    sort_by_falling_length(std::span(order).subspan(begin, count), lengths_);
    if (lengths_[order[begin]] > lengths_[order[longest]]) longest = begin;
  }
  std::swap(order[0], order[longest]);
  return order;
}

}  // namespace leash
