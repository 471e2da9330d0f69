#include "rollout/decode_step.h"

#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "models/device.h"

#ifdef LEASH_CUDA
#include <ATen/cuda/CUDAEvent.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
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
      } catch (const c10::Error&) {  // what went wrong first is what is said
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

DecodeStep::DecodeStep(const Decoder& decoder, const Adapter* adapter, KvCache& cache, bool record)
    : decoder_(decoder),
      adapter_(adapter),
      cache_(cache),
      record_(record && decoder.device().is_cuda()),
      inputs_(at::zeros({2, cache.num_slots()},
                        at::TensorOptions(at::kLong).device(decoder.device()))) {}

DecodeStep::~DecodeStep() = default;

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

std::unique_ptr<RecordedWork> DecodeStep::recorded(
    [[maybe_unused]] const std::function<void()>& work) const {
#ifdef LEASH_CUDA
  for (const auto& [shape, other] : works_) {
    if (other.recorded == nullptr) continue;
    return std::make_unique<CudaGraph>(work, static_cast<CudaGraph&>(*other.recorded).pool());
  }
  return std::make_unique<CudaGraph>(work, at::cuda::graph_pool_handle());
#else
  TORCH_CHECK(false, "nothing is recorded without CUDA");
#endif
}

DecodeStep::Rows DecodeStep::run(const std::vector<int64_t>& ids,
                                 const std::vector<int64_t>& slots) {
  give(ids, slots);
  const Shape shape = shape_of(slots);
  Work& work = works_[shape];
  if (work.recorded != nullptr) {
    work.recorded->repeat();
  } else if (!record_ || !work.seen_before) {
    work.rows = compute(shape);
    work.seen_before = true;
  } else {
    work.recorded = recorded([&] { work.rows = compute(shape); });
    work.recorded->repeat();
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
      : outer(before),
        own(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, before.device_index())),
        guard(own) {
    follow(own, outer);
  }
  ~State() { follow(outer, own); }
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
