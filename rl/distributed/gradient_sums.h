// The gradients of an optimizer step, added up over the ranks while the last backward pass runs.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <type_traits>
#include <vector>

#include "rl/distributed/communicator.h"
#include "rollout/timeline.h"

namespace leash {

// Which of `parameters` travel together, in the order in which the buckets are sent: from the last
// parameter to the first, as a backward pass comes to them (parameters stand in the order of their
// use). A bucket is full when it has `bytes` or more; 0: a sixteenth of all, from 1 MB to 25 MB. A
// function of shapes and dtypes alone, so the same on all ranks.
std::vector<std::vector<size_t>> gradient_buckets(const std::vector<at::Tensor>& parameters,
                                                  int64_t bytes = 0);

// All that the ranks tell each other in one optimizer step: made before its first pass, asked at
// its end. Each parameter's gradient becomes the sum over all ranks; a rank that has none counts as
// zeros, and a parameter that has none anywhere keeps none. A bucket is sent as soon as its
// gradients are final and all buckets before it are sent: during the backward pass after
// next_backward_is_last(), the rest in finish(). So all ranks send the same buckets in the same
// order, whatever passes each of them makes, and what is added up, bit for bit, does not depend on
// when it is sent. Where the pass gathers weights and sums must not run beside that, all are sent
// in finish(), which is to be called when the gathers are over. With one rank nothing is done at
// all.
class GradientSums {
 public:
  // `parameters`: different leaves. `bucket_bytes` as in gradient_buckets.
  GradientSums(Communicator& communicator, std::vector<at::Tensor> parameters,
               int64_t bucket_bytes = 0);
  ~GradientSums();
  GradientSums(const GradientSums&) = delete;
  GradientSums& operator=(const GradientSums&) = delete;

  // One more backward pass of this rank comes, and it is the last one of the step. Without this
  // call (a rank without rows has no pass) finish() sends all. A second pass that reaches a
  // parameter is an error.
  void next_backward_is_last();

  // Sends what is left, waits, and returns the `Sums` of all ranks added up in their order, so that
  // every rank gets the same bits. CommunicationError, which the last backward pass may throw, too.
  template <class Sums>
  Sums finish(const Sums& own) {
    static_assert(std::is_trivially_copyable_v<Sums>);
    Sums total;
    if (communicator_.size() == 1) {
      total.add(own);
      return total;
    }
    const at::Tensor table = row_of_bytes(&own, sizeof(Sums));
    finish_with(table);
    for (int64_t rank = 0; rank < communicator_.size(); ++rank) {
      Sums part;
      std::memcpy(&part, table[rank].const_data_ptr(), sizeof(Sums));
      total.add(part);
    }
    return total;
  }

 private:
  struct Hook;
  struct Bucket {
    std::vector<size_t> members;  // indices into parameters_
    size_t num_missing = 0;       // whose gradient is not final yet
    std::vector<at::Tensor> sums{};
    std::unique_ptr<PendingSums> pending{};
  };

  // [ranks, size] uint8: this rank's row holds the bytes, the others are zeros. Summed over all
  // ranks it holds everyone's.
  at::Tensor row_of_bytes(const void* bytes, size_t size) const;
  void finish_with(const at::Tensor& table);
  void gradient_is_final(size_t parameter);
  void send_next();
  void remove_hooks();

  std::mutex mutex_;  // of what the last pass's hooks change
  Communicator& communicator_;
  std::vector<at::Tensor> parameters_;
  std::vector<Bucket> buckets_;
  std::vector<size_t> bucket_of_;
  size_t num_sent_ = 0;                // buckets
  std::vector<int64_t> num_having_;    // ranks with a gradient, by parameter
  std::vector<int64_t> num_arrivals_;  // in the last pass
  bool hooked_ = false;
  Timeline::Clock::time_point last_pass_at_{};
};

// The same where no pass is left to send beside: held-out sums, for instance.
template <class Sums>
Sums sum_over_ranks(Communicator& communicator, const std::vector<at::Tensor>& parameters,
                    const Sums& own) {
  return GradientSums(communicator, parameters).finish(own);
}

}  // namespace leash
