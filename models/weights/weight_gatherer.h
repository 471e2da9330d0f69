// How a sharded weight fetches other ranks' parts: the one thing that models/ asks of them. Who the
// ranks are, and how they talk, is not known here.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace leash {

// Collectives: every rank makes the same calls in the same order. Each returns when this rank's
// part is done, on a device at the latest when the calling thread's current stream is through with
// what it was given; after an exception the gatherer is of no further use. One thread at a time
// (but for cancel).
class WeightGatherer {
 public:
  virtual ~WeightGatherer() = default;
  virtual int64_t rank() const = 0;
  virtual int64_t size() const = 0;
  // Every rank's number, by rank.
  virtual std::vector<int64_t> exchange(int64_t own) = 0;
  // Every rank's part, one behind the other by rank: [n] -> [size n] on the same device, in memory
  // that nobody else writes. With one rank it may be `own` itself.
  virtual at::Tensor gather(const at::Tensor& own) = 0;
  // From any thread: what waits here, and every later call, throws soon.
  virtual void cancel() noexcept = 0;
};

// One rank, which has everything.
std::unique_ptr<WeightGatherer> lone_gatherer();

}  // namespace leash
