// Lanes: where each role's work runs. One lane per role (actor, reference, critic, reward); on a
// CPU a lane is a worker thread with its own number of threads per operation, on a GPU it will be a
// stream. Work on one lane runs in the order it was given; what depends on another lane's work says
// so by waiting for its result.
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
  bool timeline = false;         // for whoever makes the lanes: write one
};
template <class Config, class Visitor>
requires Describes<Config, LanesConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit("concurrent", c.concurrent,
        "run actor, reference, critic and reward at the same time where they do not depend on each "
        "other");
  visit("threads_per_lane", c.threads_per_lane,
        "threads of one operation (0: all cores); results depend on it", at_least(0));
  visit("timeline", c.timeline,
        "write timeline.json into the run's folder: who worked when, for Perfetto or "
        "chrome://tracing");
}

class Timeline;

// One queue of work. Tasks run in order; a task's exception reaches whoever waits for its result. A
// task may itself wait only for work that was given before it, since lanes may share a worker.
class Lane {
 public:
  virtual ~Lane() = default;

  // Runs `work` on this lane; the future holds its result or its exception. `what` is its name in
  // the timeline, a literal.
  template <class Work>
  auto run(std::string_view what, Work work) -> std::future<std::invoke_result_t<Work>> {
    auto task = std::make_shared<std::packaged_task<std::invoke_result_t<Work>()>>(std::move(work));
    auto result = task->get_future();
    post(what, [task] { (*task)(); });
    return result;
  }
  template <class Work>
  auto run(Work work) {
    return run("", std::move(work));
  }

 protected:
  virtual void post(std::string_view what,
                    std::function<void()> task) = 0;  // `task` throws nothing
};

class Lanes {
 public:
  // With `timeline`, that file gets a span for every task, a row for every role; `process` is the
  // number under which they stand.
  explicit Lanes(const LanesConfig& config,
                 const std::optional<std::filesystem::path>& timeline = std::nullopt,
                 int64_t process = 0);
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
