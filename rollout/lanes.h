// Lanes: where each role's work runs. One lane per role (actor, reference, critic, reward); on a
// CPU a lane is a worker thread with its own number of threads per operation, on a GPU that worker
// has a stream of its own. Work on one lane runs in the order it was given; what depends on another
// lane's work says so by waiting for its result.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "models/fields.h"
#include "models/limits.h"
#include "rollout/device_stream.h"

namespace leash {

enum class Role { actor, reference, critic, reward };
template <>
struct EnumNames<Role> {
  static constexpr std::pair<Role, std::string_view> values[] = {{Role::actor, "actor"},
                                                                 {Role::reference, "reference"},
                                                                 {Role::critic, "critic"},
                                                                 {Role::reward, "reward"}};
};

struct LanesConfig {
  bool concurrent = true;        // false: all roles share one worker
  int64_t threads_per_lane = 0;  // threads of one operation; 0: as many as the thread that makes
                                 // the lanes. Results depend on it, not on `concurrent`
  int64_t scoring_group = 0;     // answers that are judged together while others are sampled
  bool timeline = false;         // for whoever makes the lanes: write one
};
template <class Config, class Visitor>
requires Describes<Config, LanesConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit("concurrent", c.concurrent,
        "run actor, reference, critic and reward at the same time where they do not depend on each "
        "other");
  visit("threads_per_lane", c.threads_per_lane,
        "threads of one operation (0: all cores); results depend on it", within(0, kMostThreads));
  visit("scoring_group", c.scoring_group,
        "reference, critic and reward model judge answers this many at a time, as soon as so many "
        "have ended and while others are still being sampled; 0: all together after sampling",
        at_least(0));
  visit("timeline", c.timeline,
        "write timeline.json into the run's folder: who worked when, for Perfetto or "
        "chrome://tracing");
}

class Timeline;

// What a task will have computed. Of a lane on a GPU the result is there when the task has given
// its work to the stream; the stream of whoever takes it then waits for that work, and memory in it
// is kept for that stream.
template <class T>
class LaneResult {
 public:
  LaneResult(std::future<T> result, std::shared_ptr<TaskEnd> end)
      : result_(std::move(result)), end_(std::move(end)) {}

  // Nothing more to wait for once the result was taken.
  void wait() const {
    if (result_.valid()) result_.wait();
  }
  // Once. Throws what the task threw.
  T get() {
    if constexpr (std::is_void_v<T>) {
      result_.get();
      if (end_ != nullptr) end_->arrive();
    } else {
      T value = result_.get();
      if (end_ != nullptr) {
        end_->arrive();
        uses(*end_, value);
      }
      return value;
    }
  }

 private:
  std::future<T> result_;
  std::shared_ptr<TaskEnd> end_;  // of a task on a GPU
};

// One queue of work. Tasks run in order; a task's exception reaches whoever waits for its result. A
// task may itself wait only for work that was given before it, since lanes may share a worker.
class Lane {
 public:
  virtual ~Lane() = default;

  // Runs `work` on this lane; what is returned holds its result or its exception. `what` is its
  // name in the timeline, a literal.
  template <class Work>
  auto run(std::string_view what, Work work) -> LaneResult<std::invoke_result_t<Work>> {
    using Result = std::invoke_result_t<Work>;
    std::shared_ptr<TaskEnd> end = task_end();
    // The end is recorded before anybody can see the result.
    auto task = std::make_shared<std::packaged_task<Result()>>(
        [work = std::move(work), end]() mutable -> Result {
          if constexpr (std::is_void_v<Result>) {
            work();
            if (end != nullptr) end->record();
          } else {
            Result value = work();
            if (end != nullptr) end->record();
            return value;
          }
        });
    LaneResult<Result> result(task->get_future(), std::move(end));
    post(what, [task] { (*task)(); });
    return result;
  }
  template <class Work>
  auto run(Work work) {
    return run("", std::move(work));
  }

 protected:
  // Where results are on a GPU; nullptr on a CPU.
  virtual std::shared_ptr<TaskEnd> task_end() = 0;
  virtual void post(std::string_view what,
                    std::function<void()> task) = 0;  // `task` throws nothing
};

// The stream of each role's lane; empty, or nullptr from it: that lane is on a CPU.
using RoleStreams = std::function<std::shared_ptr<DeviceStream>(Role)>;

class Lanes {
 public:
  // With `timeline`, that file gets a span for every task, a row for every role; `process` is the
  // number under which they stand.
  explicit Lanes(const LanesConfig& config,
                 const std::optional<std::filesystem::path>& timeline = std::nullopt,
                 int64_t process = 0, const RoleStreams& streams = {});
  // Finishes what was posted, then ends the workers.
  ~Lanes();
  Lane& operator[](Role role);
  // For what else there is to show; nullptr without a file.
  std::shared_ptr<Timeline> timeline() const { return timeline_; }

 private:
  std::shared_ptr<Timeline> timeline_;
  std::vector<std::unique_ptr<Lane>> of_role_;
};

}  // namespace leash
