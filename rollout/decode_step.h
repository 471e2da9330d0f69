// One token for every active sequence, on a device that is not the CPU: a forward of the cache's
// first slots, used or not, so that all steps between two changes of shape are the same work. On a
// GPU that work is captured as a CUDA graph when a shape comes a second time, and replayed from
// then on: launching the hundreds of small kernels of a step one by one takes longer than they run.
#pragma once

#include <ATen/core/Tensor.h>

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "models/decoder/decoder.h"
#include "rollout/kv_cache.h"

namespace leash {

// Work of LibTorch's operators that is recorded once and repeated on the same memory. Without CUDA
// there is none.
class RecordedWork {
 public:
  virtual ~RecordedWork() = default;
  virtual void repeat() = 0;
};

// Whether steps on `device` can be recorded at all: on a GPU, with weights that stay where they
// are. What is gathered for a use (Decoder::sharded) is at another address the next time, and comes
// by another thread, which no recording has.
bool recordable(at::Device device, bool sharded);

class DecodeStep {
 public:
  // `record`: replay, where that can be. All arguments outlive this. On a GPU the current stream
  // must stay the same and be none of its default ones.
  DecodeStep(const Decoder& decoder, const Adapter* adapter, KvCache& cache, bool record);
  ~DecodeStep();

  // The rows of `slots`, whose next tokens are `ids`; the cache holds one row more in each of them
  // afterwards. What is returned is overwritten by the next step.
  struct Rows {
    at::Tensor hidden;  // [slots, hidden]
    at::Tensor logits;  // [slots, vocab] fp32 or wider
  };
  Rows run(const std::vector<int64_t>& ids, const std::vector<int64_t>& slots);

 private:
  struct Shape {
    int64_t slots = 0, seen = 0;
    auto operator<=>(const Shape&) const = default;
  };
  struct Work {
    Rows rows;  // of all slots of the shape
    std::unique_ptr<RecordedWork> recorded;
    bool seen_before = false;
  };
  Shape shape_of(const std::vector<int64_t>& slots) const;
  void give(const std::vector<int64_t>& ids, const std::vector<int64_t>& slots);
  Rows compute(const Shape& shape);
  // Nothing, from then on too, where memory does not suffice for it.
  void record(Work& work, const Shape& shape);

  const Decoder& decoder_;
  const Adapter* adapter_;
  KvCache& cache_;
  bool record_;
  at::Tensor inputs_;  // int64 [2, slots] on the device: ids and positions
  std::map<Shape, Work> works_;
};

// While it lives, the calling thread's current stream on `device` is one that can be recorded, and
// what the thread did before on that device comes first, what it does afterwards later. Nothing
// where the device is no GPU or the stream is such a one already.
class RecordableStream {
 public:
  explicit RecordableStream(at::Device device);
  ~RecordableStream();
  RecordableStream(const RecordableStream&) = delete;
  RecordableStream& operator=(const RecordableStream&) = delete;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace leash
