// Lanes: order, exceptions, draining, and threads of one's own. Threads* also run under
// ThreadSanitizer.
#include "rollout/lanes.h"

#include <ATen/Parallel.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <thread>

#include "tests/support/files.h"

namespace leash {
namespace {

using namespace std::chrono_literals;

constexpr Role kRoles[] = {Role::actor, Role::reference, Role::critic, Role::reward};

// A pause that differs from call to call.
void pause(int i) { std::this_thread::sleep_for(std::chrono::microseconds((i * 7919) % 300)); }

TEST(ThreadsLanes, WorkOfALaneRunsInOrder) {
  for (const bool concurrent : {true, false}) {
    std::map<Role, std::vector<int>> seen;  // each lane writes its own entry
    for (const Role role : kRoles) seen[role];
    {
      Lanes lanes({.concurrent = concurrent, .threads_per_lane = 1});
      for (int i = 0; i < 50; ++i) {
        for (const Role role : kRoles) {
          (void)lanes[role].run([&seen, role, i] {
            pause(i + static_cast<int>(role));
            seen.at(role).push_back(i);
          });
        }
      }
    }  // waits for all of it
    for (const Role role : kRoles) {
      ASSERT_EQ(seen[role].size(), 50u);
      for (int i = 0; i < 50; ++i) EXPECT_EQ(seen[role][static_cast<size_t>(i)], i);
    }
  }
}

// One span per task in its role's row, in the order of the row, none shorter than its task.
TEST(ThreadsLanes, ATimelineShowsWhoWorkedWhen) {
  for (const bool concurrent : {true, false}) {
    const testing::ScratchFolder folder;
    {
      Lanes lanes({.concurrent = concurrent, .threads_per_lane = 1}, folder / "timeline.json");
      for (int i = 0; i < 20; ++i) {
        (void)lanes[Role::actor].run("update", [i] { pause(i); });
        (void)lanes[Role::reward].run([] { std::this_thread::sleep_for(2ms); });
      }
    }
    std::string text = testing::read_text(folder / "timeline.json");
    ASSERT_TRUE(text.ends_with(",\n"));
    text.replace(text.size() - 2, 2, "]");
    std::map<int, std::vector<nlohmann::json>> rows;
    std::map<int, std::string> names;
    for (const auto& event : nlohmann::json::parse(text)) {
      if (event.at("ph") == "M") names[event.at("tid")] = event.at("args").at("name");
      if (event.at("ph") == "X") rows[event.at("tid")].push_back(event);
    }
    EXPECT_EQ(names, (std::map<int, std::string>{
                         {0, "actor"}, {1, "reference"}, {2, "critic"}, {3, "reward"}}));
    ASSERT_EQ(rows.size(), 2u);
    for (const auto& [row, spans] : rows) {
      ASSERT_EQ(spans.size(), 20u);
      double free = 0;
      for (const auto& span : spans) {
        EXPECT_EQ(span.at("name"), row == 0 ? "update" : "reward");
        EXPECT_GE(span.at("ts").get<double>(), free - 0.2);
        free = span.at("ts").get<double>() + span.at("dur").get<double>();
        EXPECT_GE(span.at("dur").get<double>(), row == 3 ? 2000 : 0);
      }
    }
  }
}

// What happens to a stream, written down from all threads.
class Notes {
 public:
  void add(std::string note) {
    const std::lock_guard lock(mutex_);
    notes_.push_back(std::move(note));
  }
  std::vector<std::string> all() {
    const std::lock_guard lock(mutex_);
    return notes_;
  }
  // How many notes came before the first of this text; -1: there is none.
  int64_t place(const std::string& note) {
    const std::vector<std::string> notes = all();
    const auto found = std::ranges::find(notes, note);
    return found == notes.end() ? -1 : found - notes.begin();
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> notes_;
};

class NotedStream final : public DeviceStream {
 public:
  explicit NotedStream(Notes& notes) : notes_(notes) {}
  std::function<void()> behind_caller(std::string_view what, std::function<void()> task) override {
    notes_.add("given " + std::string(what));
    return [&notes = notes_, name = std::string(what), task = std::move(task)] {
      notes.add("begin " + name);
      task();
      notes.add("end " + name);
    };
  }
  std::shared_ptr<TaskEnd> task_end() override {
    struct End final : TaskEnd {
      explicit End(Notes& to) : notes(to) {}
      void record() override { notes.add("record"); }
      void arrive() override { notes.add("arrive"); }
      void uses(const at::Tensor&) override { notes.add("uses"); }
      Notes& notes;
    };
    return std::make_shared<End>(notes_);
  }

 private:
  Notes& notes_;
};

// A lane on a device: work behind the caller's, its end recorded before anybody can see the result,
// the taker's stream behind that end, memory in the result kept for the taker.
TEST(ThreadsLanes, ALaneOfADeviceRecordsWhereItsResultsAre) {
  for (int i = 0; i < 50; ++i) {
    Notes notes;
    {
      Lanes lanes({.threads_per_lane = 1}, std::nullopt, 0, [&](Role role) {
        return role == Role::critic ? std::make_shared<NotedStream>(notes) : nullptr;
      });
      EXPECT_EQ(lanes[Role::actor].run([] { return 7; }).get(), 7);
      EXPECT_TRUE(notes.all().empty());  // a CPU lane has no stream
      auto tensors = lanes[Role::critic].run("values", [] {
        return std::vector<at::Tensor>{at::ones({2}), at::ones({3})};
      });
      EXPECT_EQ(notes.place("given values"), 0);
      tensors.wait();
      EXPECT_GT(notes.place("record"), notes.place("begin values"));
      EXPECT_EQ(notes.place("arrive"), -1);
      EXPECT_EQ(tensors.get().size(), 2u);
    }
    EXPECT_GT(notes.place("arrive"), notes.place("record"));
    EXPECT_GT(notes.place("uses"), notes.place("arrive"));
    EXPECT_EQ(std::ranges::count(notes.all(), "uses"), 2);
  }
}

TEST(ThreadsLanes, ADeviceTaskThatThrowsRecordsNothing) {
  Notes notes;
  Lanes lanes({.threads_per_lane = 1}, std::nullopt, 0,
              [&](Role) { return std::make_shared<NotedStream>(notes); });
  auto bad = lanes[Role::actor].run([]() -> int { throw std::runtime_error("out of words"); });
  EXPECT_THROW(bad.get(), std::runtime_error);
  EXPECT_EQ(notes.place("record"), -1);
  lanes[Role::actor].run([] {}).get();
  EXPECT_GE(notes.place("record"), 0);
}

TEST(ThreadsLanes, OneWorkerPerRoleOrOneForAll) {
  for (const bool concurrent : {true, false}) {
    Lanes lanes({.concurrent = concurrent, .threads_per_lane = 1});
    std::set<std::thread::id> ids;
    for (const Role role : kRoles) {
      ids.insert(lanes[role].run([] { return std::this_thread::get_id(); }).get());
    }
    EXPECT_EQ(ids.size(), concurrent ? 4u : 1u);
    EXPECT_EQ(ids.count(std::this_thread::get_id()), 0u);
  }
}

TEST(ThreadsLanes, RolesRunAtTheSameTime) {
  Lanes lanes({.threads_per_lane = 1});
  std::promise<int> from_reference, from_actor;
  auto actor = lanes[Role::actor].run([&] {
    from_actor.set_value(1);
    return from_reference.get_future().get();
  });
  auto reference = lanes[Role::reference].run([&] {
    const int got = from_actor.get_future().get();
    from_reference.set_value(got + 1);
    return got;
  });
  EXPECT_EQ(actor.get(), 2);
  EXPECT_EQ(reference.get(), 1);
}

TEST(ThreadsLanes, ALaneWaitsForEarlierWorkOfAnother) {
  for (const bool concurrent : {true, false}) {
    Lanes lanes({.concurrent = concurrent, .threads_per_lane = 1});
    int total = 0;
    for (int i = 0; i < 30; ++i) {
      auto first = lanes[Role::actor].run([i] {
        pause(i);
        return i;
      });
      total += lanes[Role::critic]
                   .run([first = std::make_shared<LaneResult<int>>(std::move(first))] {
                     return first->get() * 2;
                   })
                   .get();
    }
    EXPECT_EQ(total, 29 * 30);
  }
}

TEST(ThreadsLanes, ExceptionsReachWhoWaitsAndTheLaneGoesOn) {
  for (const bool concurrent : {true, false}) {
    Lanes lanes({.concurrent = concurrent, .threads_per_lane = 1});
    auto bad = lanes[Role::reward].run([]() -> int { throw std::runtime_error("out of words"); });
    auto good = lanes[Role::reward].run([] { return 5; });
    EXPECT_EQ(good.get(), 5);
    try {
      bad.get();
      ADD_FAILURE() << "nothing was thrown";
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "out of words");
    }
    (void)lanes[Role::actor].run([] { throw std::runtime_error("nobody waits for this"); });
  }
}

TEST(ThreadsLanes, ManyThreadsMayGiveWork) {
  Lanes lanes({.threads_per_lane = 1});
  int64_t sum = 0;  // written by one lane only
  {
    std::vector<std::jthread> givers;
    for (int giver = 0; giver < 4; ++giver) {
      givers.emplace_back([&lanes, &sum, giver] {
        for (int i = 0; i < 50; ++i) {
          auto done = lanes[Role::critic].run([&sum] { return ++sum; });
          if (i % 7 == giver) done.get();
        }
      });
    }
  }
  EXPECT_EQ(lanes[Role::critic].run([&sum] { return sum; }).get(), 200);
}

TEST(Lanes, EachWorkerHasItsOwnNumberOfThreads) {
  const int before = at::get_num_threads();
  for (const bool concurrent : {true, false}) {
    Lanes three({.concurrent = concurrent, .threads_per_lane = 3});
    Lanes one({.concurrent = concurrent, .threads_per_lane = 1});
    Lanes all({.concurrent = concurrent});
    const auto threads = [] { return at::get_num_threads(); };
    for (const Role role : kRoles) {
      EXPECT_EQ(three[role].run(threads).get(), 3);
      EXPECT_EQ(one[role].run(threads).get(), 1);
      EXPECT_EQ(all[role].run(threads).get(), before);
    }
    EXPECT_EQ(at::get_num_threads(), before) << "the maker's own setting stays";
  }
  EXPECT_ANY_THROW(Lanes({.threads_per_lane = -1}));
}

}  // namespace
}  // namespace leash
