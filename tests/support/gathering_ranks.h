// Ranks that are threads of this process and gather through its memory.
#pragma once

#include <ATen/core/Tensor.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "models/weights/gather_queue.h"

namespace leash::testing {

// Where they meet. A rank that fails takes the others with it.
class MeetingPlace {
 public:
  explicit MeetingPlace(int64_t size) : words_(size), parts_(size), cancelled_(size) {}
  int64_t size() const { return static_cast<int64_t>(words_.size()); }

  std::vector<int64_t> exchange(int64_t rank, int64_t word);
  at::Tensor gather(int64_t rank, const at::Tensor& part);
  void fail();
  void cancel(int64_t rank);

  // What was gathered, in its order, by the sizes of the parts.
  std::vector<int64_t> gathered() const;

 private:
  // Returns when all ranks came here.
  void meet(std::unique_lock<std::mutex>& lock, int64_t rank);

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<int64_t> words_;
  std::vector<at::Tensor> parts_;
  std::vector<bool> cancelled_;
  std::vector<int64_t> gathered_{};
  int64_t arrived_ = 0, round_ = 0;
  bool failed_ = false;
};

std::unique_ptr<WeightGatherer> gatherer_at(MeetingPlace& place, int64_t rank);

// Runs work(rank, queue) on a thread per rank and rethrows what one of them threw.
void run_gathering_ranks(
    int64_t size,
    const std::function<void(int64_t rank, const std::shared_ptr<GatherQueue>& queue)>& work,
    std::vector<int64_t>* gathered = nullptr);

}  // namespace leash::testing
