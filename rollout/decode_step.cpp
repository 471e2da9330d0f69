#include "rollout/decode_step.h"

#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <functional>

#include "models/device/device.h"

#ifdef LEASH_CUDA
#include <ATen/cuda/CUDAEvent.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <optional>
#endif

namespace leash {
namespace {

// Every new shape costs as much as ten steps, and fewer rows or positions than these save nothing.
constexpr int64_t kFewestSlots = 16, kFewestSeen = 256;

// So that few shapes come up: `least` times a power of `factor`, but not above `most`.
int64_t rounded_up(int64_t value, int64_t least, int64_t factor, int64_t most) {
  int64_t result = least;
  while (result < value) result *= factor;
  return std::min(result, most);
}

#ifdef LEASH_CUDA
class CudaGraph final : public RecordedWork {
 public:
  // Other threads may go on using the GPU meanwhile. Graphs of one `pool` use the same memory: what
  // one of them wrote is read before the next one runs.
  CudaGraph(const std::function<void()>& work, c10::MempoolId_t pool) {
    graph_.capture_begin(pool, cudaStreamCaptureModeThreadLocal);
    try {
      work();
    } catch (...) {
      try {
        graph_.capture_end();
      } catch (const c10::Error&) {  // the first error is reported
      }
      throw;
    }
    graph_.capture_end();
  }
  void repeat() override { graph_.replay(); }
  auto pool() { return graph_.pool(); }

 private:
  at::cuda::CUDAGraph graph_;
};
#endif

}  // namespace

bool recordable(at::Device device, bool sharded) { return device.is_cuda() && !sharded; }

DecodeStep::DecodeStep(const Decoder& decoder, const Adapter* adapter, KvCache& cache, bool record)
    : decoder_(decoder),
      adapter_(adapter),
      cache_(cache),
      record_(record && recordable(decoder.device(), decoder.sharded())),
      inputs_(at::zeros({2, cache.num_slots()},
                        at::TensorOptions(at::kLong).device(decoder.device()))) {}

DecodeStep::~DecodeStep() {
#ifdef LEASH_CUDA
  std::optional<c10::MempoolId_t> pool;
  for (const auto& [shape, work] : works_) {
    if (work.recorded != nullptr) pool = static_cast<CudaGraph&>(*work.recorded).pool();
  }
  works_.clear();
  if (!pool) return;
  // LibTorch keeps the memory of dead graphs from everything else until it runs out of memory,
  // and cannot ask for it while a graph is being recorded.
  try {
    const c10::cuda::CUDAGuard guard(decoder_.device());
    c10::cuda::CUDACachingAllocator::emptyCache(*pool);
  } catch (const c10::Error&) {  // a failed device says so elsewhere
  }
#endif
}

DecodeStep::Shape DecodeStep::shape_of(const std::vector<int64_t>& slots) const {
  int64_t rows = 0, seen = 0;
  for (const int64_t slot : slots) {
    rows = std::max(rows, slot + 1);
    seen = std::max(seen, cache_.filled(slot) + 1);
  }
  Shape shape{.slots = rounded_up(rows, kFewestSlots, 4, cache_.num_slots()), .seen = 0};
  // Rows that nobody asked for see as far.
  for (int64_t slot = 0; slot < shape.slots; ++slot) {
    seen = std::max(seen, cache_.filled(slot) + 1);
  }
  shape.seen = rounded_up(seen, kFewestSeen, 2, cache_.capacity());
  return shape;
}

void DecodeStep::give(const std::vector<int64_t>& ids, const std::vector<int64_t>& slots) {
  std::vector<int64_t> values(static_cast<size_t>(2 * cache_.num_slots()), 0);
  for (int64_t slot = 0; slot < cache_.num_slots(); ++slot) {
    values[static_cast<size_t>(cache_.num_slots() + slot)] = cache_.filled(slot);
  }
  for (size_t i = 0; i < slots.size(); ++i) values[static_cast<size_t>(slots[i])] = ids[i];
  inputs_.copy_(on_device(at::tensor(values, at::kLong), inputs_.device()).view(inputs_.sizes()));
}

DecodeStep::Rows DecodeStep::compute(const Shape& shape) {
  PackedTokens tokens;
  tokens.ids = inputs_.select(0, 0).narrow(0, 0, shape.slots);
  tokens.positions = inputs_.select(0, 1).narrow(0, 0, shape.slots);
  tokens.lengths.assign(static_cast<size_t>(shape.slots), 1);
  cache_.select_first(tokens.positions,
                      visible_positions(tokens.positions, shape.seen, decoder_.dtype()));
  Rows rows;
  rows.hidden = decoder_.forward(tokens, adapter_, {.cache = &cache_});
  cache_.deselect();
  rows.logits = decoder_.logits(rows.hidden, adapter_);
  return rows;
}

#ifdef LEASH_CUDA
void DecodeStep::record(Work& work, const Shape& shape) {
  c10::MempoolId_t pool = at::cuda::graph_pool_handle();
  for (const auto& [other_shape, other] : works_) {
    if (other.recorded != nullptr) pool = static_cast<CudaGraph&>(*other.recorded).pool();
  }
  // While it records, LibTorch cannot fall back on memory that it only keeps for later.
  for (int attempt = 0; attempt < 2; ++attempt) {
    try {
      work.recorded = std::make_unique<CudaGraph>([&] { work.rows = compute(shape); }, pool);
      return;
    } catch (const c10::OutOfMemoryError&) {
      work.rows = {};
      cache_.deselect();
      c10::cuda::CUDACachingAllocator::emptyCache();
    }
  }
  record_ = false;
}
#else
void DecodeStep::record(Work&, const Shape&) {}  // without CUDA there is no GPU to record on
#endif

DecodeStep::Rows DecodeStep::run(const std::vector<int64_t>& ids,
                                 const std::vector<int64_t>& slots) {
  give(ids, slots);
  const Shape shape = shape_of(slots);
  Work& work = works_[shape];
  if (work.recorded == nullptr && record_ && work.seen_before) record(work, shape);
  if (work.recorded != nullptr) {
    work.recorded->repeat();
  } else {
    work.rows = compute(shape);
    work.seen_before = true;
  }
  cache_.grow(slots);
  const at::Tensor places = on_device(at::tensor(slots, at::kLong), inputs_.device());
  return {.hidden = work.rows.hidden.index_select(0, places),
          .logits = work.rows.logits.index_select(0, places)};
}

#ifdef LEASH_CUDA

struct RecordableStream::State {
  c10::cuda::CUDAStream outer, own;
  c10::cuda::CUDAStreamGuard guard;

  explicit State(c10::cuda::CUDAStream before)
      : outer(before), own(of_this_thread(before.device_index())), guard(own) {
    follow(own, outer);
  }
  ~State() {
    try {
      follow(outer, own);
    } catch (const c10::Error&) {  // a failed device says so elsewhere
    }
  }
  // One for each thread and GPU: memory that was freed on a stream is only used again there.
  static c10::cuda::CUDAStream of_this_thread(c10::DeviceIndex device) {
    thread_local std::map<c10::DeviceIndex, c10::cuda::CUDAStream> streams;
    const auto known = streams.find(device);
    if (known != streams.end()) return known->second;
    const auto stream = c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device);
    streams.emplace(device, stream);
    return stream;
  }
  static void follow(const c10::cuda::CUDAStream& later, const c10::cuda::CUDAStream& earlier) {
    at::cuda::CUDAEvent event;
    event.record(earlier);
    event.block(later);
  }
};

RecordableStream::RecordableStream(at::Device device) {
  if (!device.is_cuda()) return;
  const auto stream = c10::cuda::getCurrentCUDAStream(device.index());
  if (stream == c10::cuda::getDefaultCUDAStream(device.index())) {
    state_ = std::make_unique<State>(stream);
  }
}

#else

struct RecordableStream::State {};
RecordableStream::RecordableStream(at::Device) {}

#endif

RecordableStream::~RecordableStream() = default;

}  // namespace leash
