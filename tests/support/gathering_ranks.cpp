#include "tests/support/gathering_ranks.h"

#include <ATen/ops/cat.h>

#include <exception>
#include <stdexcept>
#include <thread>

namespace leash::testing {
namespace {

class MemoryGatherer final : public WeightGatherer {
 public:
  MemoryGatherer(MeetingPlace& place, int64_t rank) : place_(place), rank_(rank) {}
  int64_t rank() const override { return rank_; }
  int64_t size() const override { return place_.size(); }
  std::vector<int64_t> exchange(int64_t own) override { return place_.exchange(rank_, own); }
  at::Tensor gather(const at::Tensor& own) override { return place_.gather(rank_, own); }
  void cancel() noexcept override { place_.cancel(rank_); }

 private:
  MeetingPlace& place_;
  int64_t rank_;
};

}  // namespace

void MeetingPlace::meet(std::unique_lock<std::mutex>& lock, int64_t rank) {
  if (failed_) throw std::runtime_error("another rank failed");
  const int64_t round = round_;
  if (++arrived_ == size()) {
    arrived_ = 0;
    ++round_;
    changed_.notify_all();
    return;
  }
  changed_.wait(
      lock, [&] { return failed_ || round_ != round || cancelled_[static_cast<size_t>(rank)]; });
  if (round_ == round) throw std::runtime_error("another rank failed");
}

std::vector<int64_t> MeetingPlace::exchange(int64_t rank, int64_t word) {
  std::unique_lock lock(mutex_);
  words_[static_cast<size_t>(rank)] = word;
  meet(lock, rank);
  std::vector<int64_t> all = words_;
  meet(lock, rank);  // everyone has read
  return all;
}

at::Tensor MeetingPlace::gather(int64_t rank, const at::Tensor& part) {
  std::unique_lock lock(mutex_);
  parts_[static_cast<size_t>(rank)] = part;
  if (rank == 0) gathered_.push_back(part.numel());
  meet(lock, rank);
  const std::vector<at::Tensor> parts = parts_;
  lock.unlock();
  at::Tensor whole = at::cat(parts);
  lock.lock();
  meet(lock, rank);
  return whole;
}

void MeetingPlace::cancel(int64_t rank) {
  const std::lock_guard lock(mutex_);
  cancelled_[static_cast<size_t>(rank)] = true;
  changed_.notify_all();
}

void MeetingPlace::fail() {
  const std::lock_guard lock(mutex_);
  failed_ = true;
  changed_.notify_all();
}

std::vector<int64_t> MeetingPlace::gathered() const {
  const std::lock_guard lock(mutex_);
  return gathered_;
}

std::unique_ptr<WeightGatherer> gatherer_at(MeetingPlace& place, int64_t rank) {
  return std::make_unique<MemoryGatherer>(place, rank);
}

void run_gathering_ranks(
    int64_t size,
    const std::function<void(int64_t rank, const std::shared_ptr<GatherQueue>& queue)>& work,
    std::vector<int64_t>* gathered) {
  MeetingPlace place(size);
  std::mutex mutex;
  std::exception_ptr error;
  std::vector<std::thread> threads;
  for (int64_t rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      const auto queue = std::make_shared<GatherQueue>(gatherer_at(place, rank));
      try {
        work(rank, queue);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (error == nullptr) error = std::current_exception();
        place.fail();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (gathered != nullptr) *gathered = place.gathered();
  if (error != nullptr) std::rethrow_exception(error);
}

}  // namespace leash::testing
