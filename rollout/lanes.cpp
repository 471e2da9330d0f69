// On a CPU a lane is a worker thread. The number of threads per operation belongs to the calling
// thread (OpenMP's, MKL's and ATen's alike), so each worker sets its own.
#include "rollout/lanes.h"

#include <ATen/Parallel.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace leash {
namespace {

constexpr size_t kNumRoles = std::size(EnumNames<Role>::values);

class WorkerLane final : public Lane {
 public:
  explicit WorkerLane(int threads) : worker_([this, threads] { work(threads); }) {}

  // Everything that was posted still runs.
  ~WorkerLane() override {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
    }
    changed_.notify_one();
  }

 protected:
  void post(std::function<void()> task) override {
    {
      const std::lock_guard lock(mutex_);
      TORCH_CHECK(!closing_, "work was given to a lane that is being closed");
      tasks_.push_back(std::move(task));
    }
    changed_.notify_one();
  }

 private:
  void work(int threads) {
    // Both copies of ATen's once-per-thread initialisation (the library's and the inlined one here)
    // have to be over before, or they would take the number that some other thread set last.
    (void)at::get_num_threads();
    at::internal::lazy_init_num_threads();
    at::set_num_threads(threads);
    while (true) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return closing_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      const std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  bool closing_ = false;
  std::jthread worker_;  // last: it uses the others, and is joined before they go
};

}  // namespace

Lanes::Lanes(const LanesConfig& config) {
  TORCH_CHECK(config.threads_per_lane >= 0, "threads_per_lane is below 0");
  // Asking also settles this thread's own number, which a worker's setting would otherwise become.
  const int own = at::get_num_threads();
  const int threads = config.threads_per_lane > 0 ? static_cast<int>(config.threads_per_lane) : own;
  const size_t workers = config.concurrent ? kNumRoles : 1;
  for (size_t i = 0; i < workers; ++i) lanes_.push_back(std::make_unique<WorkerLane>(threads));
  for (size_t role = 0; role < kNumRoles; ++role) {
    of_role_.push_back(lanes_[role % workers].get());
  }
}

Lanes::~Lanes() = default;

Lane& Lanes::operator[](Role role) { return *of_role_[static_cast<size_t>(role)]; }

}  // namespace leash
