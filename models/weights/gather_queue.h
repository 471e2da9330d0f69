// The one ordered queue through which a rank gets the parts of frozen weights that other ranks
// hold.
//
// Weights are sharded by units (a transformer block, the embedding). Who multiplies with one asks
// for its unit; the queue's thread does the collectives, one after another. Before each, the ranks
// tell each other which unit they want next, and all gather the one that the lowest of them needs
// (else: would like to have ahead). So the order is the same on all ranks whatever each of them
// does; ranks in step want the same unit, and one gather serves all.
//
// A rank that has nothing left to compute joins: between enter() and leave() stands work that the
// ranks do each for itself (micro-batches, answers), and leave() takes part in the gathers of the
// others until all have left.
//
// On a GPU the queue's thread has a stream of its own, and a unit is handed out when the device has
// all of it: the thread, which looks after the collective on the host anyway (a rank may be gone),
// waits for that stream. So who acquires a unit has nothing to wait for on the device. The other
// way round, work that reads a unit is still queued when the unit is dropped: its memory is kept
// for the streams on which it was acquired, and the next gather, which needs as much, waits until
// they are through with it. Otherwise a host that runs ahead of its GPU would hold all units.
#pragma once

#include <ATen/core/Tensor.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "models/device/stream_order.h"
#include "models/weights/weight_gatherer.h"

namespace leash {

class GatherQueue {
 public:
  // What stays of a unit after its use.
  enum class Keep {
    next,  // the unit in use and the one that is fetched ahead
    all    // every unit that was used, until leave()
  };
  // What happened so far on this rank.
  struct Counts {
    int64_t gathers = 0;  // collectives
    int64_t joined = 0;   // of these, what only other ranks wanted
    int64_t waits = 0;    // uses that found their unit not there yet
    int64_t bytes = 0;    // that came from other ranks
  };

  explicit GatherQueue(std::unique_ptr<WeightGatherer> gatherer);
  ~GatherQueue();
  GatherQueue(const GatherQueue&) = delete;
  GatherQueue& operator=(const GatherQueue&) = delete;

  int64_t rank() const { return gatherer_->rank(); }
  int64_t size() const { return gatherer_->size(); }

  // A new unit, of which this rank holds `own` [n], on any device; on all ranks in the same order.
  // Returns its number.
  int64_t add(at::Tensor own);

  // The whole unit, [size n], where the parts are; to be read only, on the stream that is current
  // now, and not to be kept. Waits until it is here, and within enter() and leave() has the unit
  // that followed it last time fetched meanwhile. Any thread. Rethrows what went wrong in a
  // collective. Outside of enter() and leave(), all ranks have to ask for the same, and no gather
  // is under way when it returns.
  at::Tensor acquire(int64_t unit);

  // A forward pass begins: what comes next has nothing to do with what came before.
  void begin_pass();

  void enter(Keep keep);
  // Returns when all ranks have left; nothing is held any more. Rethrows as acquire().
  void leave();

  Counts counts() const;
  // Bytes of whole units that are held now.
  int64_t held_bytes() const;

 private:
  struct Request {
    int64_t unit = 0;
    bool ahead = false;  // nobody waits for it
    at::Tensor whole{};  // defined when it is there
    StreamReaders readers{};
  };
  using RequestPtr = std::shared_ptr<Request>;

  void run();
  int64_t wish() const;
  RequestPtr request(int64_t unit, bool ahead);
  std::optional<int64_t> expect_after(int64_t unit);
  void drop_others(int64_t unit, std::optional<int64_t> next);
  void let_go(const Request& request);
  void deliver(int64_t unit, const at::Tensor& whole);
  void forget_place();
  void check() const;

  const std::unique_ptr<WeightGatherer> gatherer_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<at::Tensor> own_;                                // by unit
  std::deque<RequestPtr> waiting_;                             // not gathered yet
  std::map<int64_t, RequestPtr> held_;                         // by unit; those in waiting_ as well
  std::map<std::pair<int64_t, int64_t>, int64_t> successors_;  // (before, unit) -> what came next
  int64_t before_ = -1, current_ = -1;  // the last two different units in use
  Keep keep_ = Keep::next;
  bool inside_ = false, leaving_ = false, stop_ = false;
  std::exception_ptr error_;
  Counts counts_;
  std::vector<c10::Event> dropped_;  // behind the last reads of units whose memory is to be free
  std::thread thread_;
};

// enter() and leave() for a scope that all ranks come to; nothing with nullptr. An exception in it
// ends the run on this rank, so that only finish() leaves.
class GatherScope {
 public:
  GatherScope(GatherQueue* queue, GatherQueue::Keep keep) : queue_(queue) {
    if (queue_ != nullptr) queue_->enter(keep);
  }
  void finish() {
    if (queue_ != nullptr) queue_->leave();
    queue_ = nullptr;
  }

 private:
  GatherQueue* queue_;
};

}  // namespace leash
