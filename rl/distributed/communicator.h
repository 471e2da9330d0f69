// What the processes of one run say to each other. A run of one process has a Communicator too: its
// collectives have nothing to do.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace leash {

class GatherQueue;
class Timeline;
class WeightGatherer;

// A collective did not come to its end; the message names the rank that is to blame where that can
// be known.
class CommunicationError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Sums that are under way. One that is dropped without wait() may still be sent: its communicator
// is of no further use.
class PendingSums {
 public:
  virtual ~PendingSums() = default;
  // Returns when this rank's part is done, and the tensors hold the sums. To be called once.
  virtual void wait() = 0;
};

// Collectives: every rank makes the same calls in the same order, with equal shapes and dtypes
// (all_gather: any bytes). Each returns when this rank's part is done (start_all_reduce: has
// begun); after an exception the communicator is of no further use. Not for several threads at
// once.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int64_t rank() const = 0;
  virtual int64_t size() const = 0;

  // Each tensor becomes the sum over all ranks, in place; all ranks get the same bits. They are
  // read now and written in wait() of what is returned, which must not outlive this. Several may be
  // under way.
  virtual std::unique_ptr<PendingSums> start_all_reduce(const std::vector<at::Tensor>& tensors) = 0;
  void all_reduce_sum(const std::vector<at::Tensor>& tensors) { start_all_reduce(tensors)->wait(); }
  // Every rank's bytes, by rank; lengths may differ.
  virtual std::vector<std::string> all_gather(const std::string& bytes) = 0;
  void barrier() { (void)all_gather(""); }

  // Tells the other ranks why this one ends, so that their errors name it. Never throws.
  virtual void report_failure(const std::exception& why) noexcept = 0;

  // From now on there is gathers(): all ranks call it once, before models are loaded.
  void shard_weights();
  // The queue that gathers sharded weights; nullptr where weights are whole. May outlive this, but
  // is of no use then.
  const std::shared_ptr<GatherQueue>& gathers() const { return gathers_; }

  // Whether sums may be under way while weights are gathered. All ranks say the same.
  virtual bool sums_beside_gathers() const { return true; }

  // The one that writes files and talks to the user.
  bool leads() const { return rank() == 0; }

  // From now on every all-reduce leaves a span in it. nullptr: nowhere.
  void show_in(std::shared_ptr<Timeline> timeline) { timeline_ = std::move(timeline); }
  Timeline* timeline() const { return timeline_.get(); }

 protected:
  // Collectives of their own, which may run beside all others.
  virtual std::unique_ptr<WeightGatherer> open_gatherer();

 private:
  std::shared_ptr<GatherQueue> gathers_;
  std::shared_ptr<Timeline> timeline_;
};

// A run of one process.
std::unique_ptr<Communicator> single_communicator();

// Whether `flag` is set on any rank.
bool any_rank(Communicator& communicator, bool flag);

// The bytes of rank 0, on all ranks.
std::string from_leader(Communicator& communicator, const std::string& bytes);

}  // namespace leash
