// On a CPU a lane is a worker thread. The number of threads per operation belongs to the calling
// thread (OpenMP's, MKL's and ATen's alike), so each worker sets its own.
#include "rollout/lanes.h"

#include <ATen/Parallel.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "rollout/timeline.h"

namespace leash {
namespace {

// A thread and its queue.
class Worker {
 public:
  explicit Worker(int threads) : thread_([this, threads] { work(threads); }) {}

  // All posted tasks still run.
  ~Worker() {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
    }
    changed_.notify_one();
  }

  void post(std::function<void()> task) {
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
  std::jthread thread_;  // last: it uses the others, and is joined before they go
};

// A role's own lane, or its share of a worker that serves all roles.
class WorkerLane final : public Lane {
 public:
  WorkerLane(Role role, std::shared_ptr<Worker> worker, std::shared_ptr<DeviceStream> stream,
             Timeline* timeline)
      : role_(role), worker_(std::move(worker)), stream_(std::move(stream)), timeline_(timeline) {
    if (timeline_ != nullptr) timeline_->name_row(row(), enum_name(role_));
  }

 protected:
  std::shared_ptr<TaskEnd> task_end() override {
    return stream_ != nullptr ? stream_->task_end() : nullptr;
  }

  void post(std::string_view what, std::function<void()> task) override {
    const std::string_view name = what.empty() ? enum_name(role_) : what;
    if (stream_ != nullptr) task = stream_->behind_caller(name, std::move(task));
    if (timeline_ == nullptr) return worker_->post(std::move(task));
    // By value: with one worker for all, the task may outlive this lane.
    worker_->post([row = row(), timeline = timeline_, name, task = std::move(task)] {
      const auto begin = Timeline::Clock::now();
      task();
      timeline->span(row, name, begin, Timeline::Clock::now());
    });
  }

 private:
  int64_t row() const { return static_cast<int64_t>(role_); }

  Role role_;
  std::shared_ptr<Worker> worker_;
  std::shared_ptr<DeviceStream> stream_;  // on a GPU
  Timeline* timeline_;
};

}  // namespace

Lanes::Lanes(const LanesConfig& config, const std::optional<std::filesystem::path>& timeline,
             int64_t process, const RoleStreams& streams) {
  TORCH_CHECK(config.threads_per_lane >= 0, "threads_per_lane is below 0");
  if (timeline) timeline_ = std::make_shared<Timeline>(*timeline, process);
  // Asking also settles this thread's own number, which a worker's setting would otherwise become.
  const int own = at::get_num_threads();
  const int threads = config.threads_per_lane > 0 ? static_cast<int>(config.threads_per_lane) : own;
  std::shared_ptr<Worker> worker;
  for (const auto& [role, name] : EnumNames<Role>::values) {
    if (worker == nullptr || config.concurrent) worker = std::make_shared<Worker>(threads);
    of_role_.push_back(std::make_unique<WorkerLane>(role, worker, streams ? streams(role) : nullptr,
                                                    timeline_.get()));
  }
}

// The workers end before what their tasks write to.
Lanes::~Lanes() { of_role_.clear(); }

Lane& Lanes::operator[](Role role) { return *of_role_[static_cast<size_t>(role)]; }

}  // namespace leash
