// Which answers make an optimizer step, and which of them are this rank's.
#pragma once

#include <cstdint>
#include <vector>

#include "rl/distributed/communicator.h"
#include "rollout/experience.h"

namespace leash {

// How an iteration's answers are cut. Rows of `group_size` answers stand together, by prompt.
struct MinibatchPlan {
  int64_t batch_size = 32;  // answers of an iteration, whole groups
  int64_t num_mini_batches = 1;
  int64_t group_size = 1;
};

// Rows of one optimizer step: minibatch `index` of epoch `epoch` in iteration `step`, from a
// permutation of the groups that is a function of these alone. A group that does not fit into what
// is left of a minibatch goes on in the next one.
std::vector<int64_t> minibatch_rows(const MinibatchPlan& plan, uint64_t seed, int64_t step,
                                    int64_t epoch, int64_t index);

// This rank's part of `rows`, by their lengths: whole groups where there is at least one for each
// rank, else answers. Those of one group stand together.
std::vector<int64_t> own_rows(const Experience& experience, const std::vector<int64_t>& rows,
                              int64_t group_size, const Communicator& communicator);

}  // namespace leash
