// Which samples go through the model together, and in which order: pure functions of lengths, seed
// and epoch.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace leash {

// Rows of samples (indices) whose lengths sum to at most `max_length`, by best-fit decreasing: the
// longest sample first, each into the row that it fills best (of equal ones the oldest); a longer
// sample than max_length stands alone. Samples of equal length keep their order.
std::vector<std::vector<int64_t>> pack_best_fit(std::span<const int64_t> lengths,
                                                int64_t max_length);

struct BatchOrderConfig {
  bool shuffle = true;
  bool group_by_length = false;  // only with shuffle
  uint64_t seed = 0;
  int64_t batch_size = 1;  // rows of an optimizer step
};

// The endless order of batches: epoch after epoch, each a permutation that is a pure function of
// (seed, epoch), or the given order. The last batch of an epoch may be smaller; none crosses
// epochs (as transformers).
//
// group_by_length: the epoch's permutation is cut into stretches of up to 50 batches (a quarter of
// the epoch where that is less), each sorted by falling length, and the longest row of all comes
// first, so that a lack of memory shows at once (transformers' LengthGroupedSampler).
class BatchOrder {
 public:
  BatchOrder(std::vector<int64_t> row_lengths, const BatchOrderConfig& config);

  int64_t num_rows() const { return static_cast<int64_t>(lengths_.size()); }
  int64_t batches_per_epoch() const;
  // Rows of batch `step` (0-based, from the start of the run).
  std::vector<int64_t> batch(int64_t step) const;

 private:
  std::vector<int64_t> epoch_order(int64_t epoch) const;

  std::vector<int64_t> lengths_;
  BatchOrderConfig config_;
};

}  // namespace leash
