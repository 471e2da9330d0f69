// Lanes: where each role's work runs. One lane per role (actor, reference, critic, reward); on a
// CPU a lane is a worker thread with its own number of threads per operation, on a GPU it will be a
// stream. Work on one lane runs in the order it was given; what depends on another lane's work says
// so by waiting for its result.
#pragma once

#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <string>
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
};
template <class Config, class Visitor>
requires Describes<Config, LanesConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit("concurrent", c.concurrent,
        "run actor, reference, critic and reward at the same time where they do not depend on each "
        "other");
  visit("threads_per_lane", c.threads_per_lane,
        "threads of one operation (0: all cores); results depend on it", at_least(0));
}

// One queue of work. Tasks run in order; a task's exception reaches whoever waits for its result. A
// task may itself wait only for work that was given before it, since lanes may share a worker.
class Lane {
 public:
  virtual ~Lane() = default;

  // Runs `work` on this lane; the future holds its result or its exception.
  template <class Work>
  auto run(Work work) -> std::future<std::invoke_result_t<Work>> {
    auto task = std::make_shared<std::packaged_task<std::invoke_result_t<Work>()>>(std::move(work));
    auto result = task->get_future();
    post([task] { (*task)(); });
    return result;
  }

 protected:
  virtual void post(std::function<void()> task) = 0;  // `task` throws nothing
};

class Lanes {
 public:
  explicit Lanes(const LanesConfig& config);
  // Finishes what was posted, then ends the workers.
  ~Lanes();
  Lane& operator[](Role role);

 private:
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::vector<Lane*> of_role_;
};

}  // namespace leash
