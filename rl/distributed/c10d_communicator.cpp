#include "rl/distributed/c10d_communicator.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <utility>

#include "rl/distributed/c10d_backend.h"
#include "rl/distributed/c10d_gatherer.h"
#include "rl/distributed/c10d_waits.h"
#include "rl/distributed/meeting.h"
#include "rl/distributed/peer_watch.h"
#include "rollout/timeline.h"

namespace leash {
namespace {

using std::chrono::milliseconds;

constexpr int64_t kBucketBytes = 25 << 20;
constexpr milliseconds kLongestPause(2);

// When a collective ran. Its end is set by the thread that comes to it.
struct Span {
  using Clock = Timeline::Clock;
  Clock::time_point begin = Clock::now();
  std::atomic<Clock::time_point> end = Clock::time_point();

  void end_now() { end = Clock::now(); }
  Clock::time_point end_or_now() const {
    const Clock::time_point ended = end;
    return ended == Clock::time_point() ? Clock::now() : ended;
  }
};

class C10dCommunicator final : public Communicator {
 public:
  C10dCommunicator(C10dStore store, CommunicationBackend kind, at::Device device,
                   const Launch& launch, milliseconds meeting_timeout, milliseconds timeout)
      : launch_(launch),
        kind_(kind),
        device_(device),
        timeout_(timeout),
        store_(std::move(store)),
        backend_(open_backend("group", meeting_timeout)),
        watch_(std::make_shared<PeerWatch>(store_->clone(), launch, timeout)),
        waits_(watch_, launch, kLongestPause) {
    store_->setTimeout(timeout);
  }

  // An unfinished collective would be waited for until its timeout.
  ~C10dCommunicator() override {
    if (failed_ || waits_.failed() || num_pending_ > 0) (void)backend_.release();
  }

  int64_t rank() const override { return launch_.rank; }
  int64_t size() const override { return launch_.size; }

  std::unique_ptr<PendingSums> start_all_reduce(const std::vector<at::Tensor>& tensors) override {
    const c10::AutoGradMode no_grad(false);
    auto pending = std::make_unique<Pending>(*this);
    waits_.run("all-reduce", [&] {
      for (const auto& group : buckets_of(tensors)) pending->buckets.push_back(start(group));
    });
    ++num_pending_;
    return pending;
  }

  std::vector<std::string> all_gather(const std::string& bytes) override {
    std::vector<std::string> gathered;
    waits_.run("all-gather", [&] {
      const at::Tensor length = at::zeros({1}, at::kLong);
      length.mutable_data_ptr<int64_t>()[0] = static_cast<int64_t>(bytes.size());
      std::vector<int64_t> lengths;
      for (const at::Tensor& each : gather(length)) lengths.push_back(each.item<int64_t>());
      const at::Tensor padded = at::zeros({*std::ranges::max_element(lengths)}, at::kByte);
      std::ranges::copy(bytes, static_cast<char*>(padded.mutable_data_ptr()));
      const std::vector<at::Tensor> all = gather(padded);
      for (size_t i = 0; i < all.size(); ++i) {
        gathered.emplace_back(static_cast<const char*>(all[i].const_data_ptr()),
                              static_cast<size_t>(lengths[i]));
      }
    });
    return gathered;
  }

  // NCCL's collectives are kernels that wait for the other ranks' while they hold a part of the
  // GPU. Those of two groups have to start in one order on all ranks, but a pass and the thread
  // that gathers for it start theirs as it happens.
  bool sums_beside_gathers() const override {
    return kind_ != CommunicationBackend::nccl || gathers() == nullptr;
  }

  void report_failure(const std::exception& why) noexcept override {
    failed_ = true;
    watch_->report(message_of(why));
  }

 protected:
  std::unique_ptr<WeightGatherer> open_gatherer() override {
    std::unique_ptr<WeightGatherer> gatherer;
    waits_.run("meeting for gathers", [&] {
      // Ranks have met; whoever loads slowly has run.ddp_timeout.
      const C10dBackend parts = open_backend("gathers", timeout_);
      // Words are the host's; NCCL would take them to the GPU and back.
      const C10dBackend words =
          kind_ == CommunicationBackend::gloo
              ? parts
              : make_gloo(c10::make_intrusive<c10d::PrefixStore>("words", store_), launch_,
                          timeout_, timeout_);
      gatherer = c10d_gatherer({.parts = parts, .words = words}, device_, watch_, launch_);
    });
    return gatherer;
  }

 private:
  // Tensors of one dtype that travel as one.
  struct Bucket {
    std::vector<at::Tensor> tensors;
    std::vector<at::Tensor> flat;  // one, as c10d takes it
    C10dWork work;
    std::shared_ptr<Span> span;  // where there is a timeline
  };

  struct Pending final : PendingSums {
    explicit Pending(C10dCommunicator& from) : communicator(from) {}
    void wait() override {
      const c10::AutoGradMode no_grad(false);
      communicator.waits_.run("all-reduce", [&] {
        for (Bucket& bucket : buckets) communicator.finish(bucket);
      });
      --communicator.num_pending_;
    }
    C10dCommunicator& communicator;
    std::vector<Bucket> buckets;
  };

  static std::vector<std::vector<at::Tensor>> buckets_of(const std::vector<at::Tensor>& tensors) {
    std::vector<std::vector<at::Tensor>> buckets;
    std::map<at::ScalarType, std::pair<size_t, int64_t>> open;  // bucket and its bytes, by dtype
    for (const at::Tensor& tensor : tensors) {
      const auto bytes = static_cast<int64_t>(tensor.nbytes());
      const auto found = open.find(tensor.scalar_type());
      if (found == open.end() || found->second.second + bytes > kBucketBytes) {
        buckets.push_back({tensor});
        open[tensor.scalar_type()] = {buckets.size() - 1, bytes};
      } else {
        buckets[found->second.first].push_back(tensor);
        found->second.second += bytes;
      }
    }
    return buckets;
  }

  Bucket start(const std::vector<at::Tensor>& tensors) {
    std::vector<at::Tensor> rows;
    // What a run trains may be on several devices.
    for (const at::Tensor& tensor : tensors) {
      rows.push_back(tensor.detach().reshape({-1}).to(device_));
    }
    Bucket bucket{.tensors = tensors, .flat = {at::cat(rows)}, .work = {}, .span = {}};
    if (timeline() != nullptr) bucket.span = std::make_shared<Span>();
    bucket.work = backend_->allreduce(bucket.flat);
    if (bucket.span != nullptr && device_.is_cpu()) {
      bucket.work->getFuture()->addCallback([span = bucket.span](auto&) { span->end_now(); });
    }
    return bucket;
  }

  void finish(Bucket& bucket) {
    waits_.wait(bucket.work);
    if (bucket.span != nullptr && timeline() != nullptr) {
      timeline()->overlapping_span("all-reduce", bucket.span->begin, bucket.span->end_or_now());
    }
    int64_t offset = 0;
    for (const at::Tensor& tensor : bucket.tensors) {
      tensor.detach().copy_(bucket.flat[0].narrow(0, offset, tensor.numel()).view(tensor.sizes()));
      offset += tensor.numel();
    }
  }

  // Tensors of equal shape from all ranks, on the CPU.
  std::vector<at::Tensor> gather(const at::Tensor& own) {
    std::vector<at::Tensor> input = {own.to(device_)};
    std::vector<std::vector<at::Tensor>> outputs(1);
    for (int64_t i = 0; i < size(); ++i) outputs[0].push_back(at::empty_like(input[0]));
    if (own.numel() > 0) waits_.wait(backend_->allgather(outputs, input));
    for (at::Tensor& output : outputs[0]) output = output.cpu();
    return outputs[0];
  }

  // A process group of its own for every name.
  C10dBackend open_backend(const std::string& name, milliseconds connecting) const {
    const C10dStore store = c10::make_intrusive<c10d::PrefixStore>(name, store_);
#ifdef LEASH_NCCL
    if (kind_ == CommunicationBackend::nccl) return make_nccl(store, launch_, timeout_);
#endif
    TORCH_CHECK(kind_ == CommunicationBackend::gloo, "a backend that this build lacks");
    return make_gloo(store, launch_, connecting, timeout_);
  }

  Launch launch_;
  CommunicationBackend kind_;
  at::Device device_;
  milliseconds timeout_;
  C10dStore store_;
  C10dBackend backend_;
  bool failed_ = false;
  int64_t num_pending_ = 0;
  std::shared_ptr<PeerWatch> watch_;
  C10dWaits waits_;
};

}  // namespace

std::unique_ptr<Communicator> meet(CommunicationBackend backend, const Launch& launch,
                                   int64_t meeting_seconds, int64_t timeout_seconds) {
  const milliseconds timeout = std::chrono::seconds(timeout_seconds);
  const milliseconds meeting =
      std::min<milliseconds>(std::chrono::seconds(meeting_seconds), timeout);
  const bool on_gpu = backend == CommunicationBackend::nccl;
  const at::Device device(on_gpu ? at::kCUDA : at::kCPU,
                          static_cast<c10::DeviceIndex>(on_gpu ? launch.local_rank : -1));
  try {
    return std::make_unique<C10dCommunicator>(meet_at_store(launch, meeting), backend, device,
                                              launch, meeting, timeout);
  } catch (const std::exception& error) {
    throw CommunicationError(fmt::format("rank {} of {} did not meet the others at {}:{}: {}",
                                         launch.rank, launch.size, launch.address, launch.port,
                                         message_of(error)));
  }
}

}  // namespace leash
