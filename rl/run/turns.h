// Several runs in one process that take turns: one works, the others wait where they stand. So a
// run's numbers are those of a run alone, whatever runs beside it, and what a step needs for a
// moment is there once.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>

namespace leash {

// A round: who passes its turn on goes behind all others. Each takes part under a number of its
// own.
class Turns {
 public:
  // Joins behind all who are there; from any thread, so that the order need not be that in which
  // threads happen to begin.
  void join(size_t who);
  // Returns when it is `who`'s turn.
  void wait(size_t who);
  // Of who has the turn: lets everybody else go once, and returns when the turn is here again.
  void pass(size_t who);
  // Of who has the turn: takes part no longer.
  void leave(size_t who);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<size_t> round_;  // whose turn it is stands in front
};

}  // namespace leash
