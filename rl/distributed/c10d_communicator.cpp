#include "rl/distributed/c10d_communicator.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <utility>

#include "rl/distributed/c10d_backend.h"
#include "rl/distributed/peer_watch.h"
#include "rollout/timeline.h"

namespace leash {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using Work = c10::intrusive_ptr<c10d::Work>;

constexpr int64_t kBucketBytes = 25 << 20;

// LibTorch's messages without their stack traces.
std::string message_of(const std::exception& error) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  std::string text = torch_error != nullptr ? torch_error->what_without_backtrace() : error.what();
  text = text.substr(0, text.find("\nException raised from"));
  std::ranges::replace(text, '\n', ' ');
  return text;
}

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
  C10dCommunicator(C10dStore store, C10dBackend backend, at::Device device, const Launch& launch,
                   milliseconds timeout)
      : launch_(launch),
        device_(device),
        store_(std::move(store)),
        backend_(std::move(backend)),
        watch_(store_->clone(), launch, timeout) {}

  // An unfinished collective would be waited for until its timeout.
  ~C10dCommunicator() override {
    if (failed_ || num_pending_ > 0) (void)backend_.release();
  }

  int64_t rank() const override { return launch_.rank; }
  int64_t size() const override { return launch_.size; }

  std::unique_ptr<PendingSums> start_all_reduce(const std::vector<at::Tensor>& tensors) override {
    const c10::AutoGradMode no_grad(false);
    auto pending = std::make_unique<Pending>(*this);
    run("all-reduce", [&] {
      for (const auto& group : buckets_of(tensors)) pending->buckets.push_back(start(group));
    });
    ++num_pending_;
    return pending;
  }

  std::vector<std::string> all_gather(const std::string& bytes) override {
    std::vector<std::string> gathered;
    run("all-gather", [&] {
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

  void report_failure(const std::exception& why) noexcept override {
    failed_ = true;
    watch_.report(message_of(why));
  }

 private:
  // Tensors of one dtype that travel as one.
  struct Bucket {
    std::vector<at::Tensor> tensors;
    std::vector<at::Tensor> flat;  // one, as c10d takes it
    Work work;
    std::shared_ptr<Span> span;  // where there is a timeline
  };

  struct Pending final : PendingSums {
    explicit Pending(C10dCommunicator& from) : communicator(from) {}
    void wait() override {
      const c10::AutoGradMode no_grad(false);
      communicator.run("all-reduce", [&] {
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
    wait(bucket.work);
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
    if (own.numel() > 0) wait(backend_->allgather(outputs, input));
    for (at::Tensor& output : outputs[0]) output = output.cpu();
    return outputs[0];
  }

  // Sleeps until the collective is done or a rank is known to be gone.
  void wait(const Work& work) {
    microseconds pause(20);
    while (!work->isCompleted()) {
      if (watch_.failure()) throw CommunicationError("");
      std::this_thread::sleep_for(pause);
      pause = std::min(pause * 5 / 4, microseconds(2000));
    }
    work->wait();
  }

  // Runs a collective; whatever goes wrong in it gets its reason.
  void run(const char* name, const std::function<void()>& collective) {
    try {
      collective();
    } catch (const std::exception& error) {
      failed_ = true;
      const std::string reason = watch_.find_out(), detail = message_of(error);
      throw CommunicationError(fmt::format("rank {} of {}: {} ({}{}{})", rank(), size(), reason,
                                           name, detail.empty() ? "" : ": ", detail));
    }
  }

  Launch launch_;
  at::Device device_;
  C10dStore store_;
  C10dBackend backend_;
  bool failed_ = false;
  int64_t num_pending_ = 0;
  PeerWatch watch_;
};

C10dStore open_store(const Launch& launch, milliseconds timeout) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<std::uint16_t>(launch.port);
  options.isServer = launch.rank == 0 && !launch.store_is_there;
  options.timeout = timeout;
  if (!launch.store_is_there) options.numWorkers = static_cast<std::size_t>(launch.size);
  return c10::make_intrusive<c10d::PrefixStore>(
      "leash/" + launch.attempt, c10::make_intrusive<c10d::TCPStore>(launch.address, options));
}

C10dBackend open_backend(CommunicationBackend backend, const C10dStore& store, const Launch& launch,
                         milliseconds timeout) {
#ifdef LEASH_NCCL
  if (backend == CommunicationBackend::nccl) return make_nccl(store, launch, timeout);
#endif
  TORCH_CHECK(backend == CommunicationBackend::gloo, "a backend that this build lacks");
  return make_gloo(store, launch, timeout);
}

}  // namespace

std::unique_ptr<Communicator> meet(CommunicationBackend backend, const Launch& launch,
                                   int64_t timeout_seconds) {
  const milliseconds timeout = std::chrono::seconds(timeout_seconds);
  const bool on_gpu = backend == CommunicationBackend::nccl;
  const at::Device device(on_gpu ? at::kCUDA : at::kCPU,
                          static_cast<c10::DeviceIndex>(on_gpu ? launch.local_rank : -1));
  try {
    C10dStore store = open_store(launch, timeout);
    C10dBackend group = open_backend(
        backend, c10::make_intrusive<c10d::PrefixStore>("group", store), launch, timeout);
    return std::make_unique<C10dCommunicator>(store, std::move(group), device, launch, timeout);
  } catch (const std::exception& error) {
    throw CommunicationError(fmt::format("rank {} of {} did not meet the others at {}:{}: {}",
                                         launch.rank, launch.size, launch.address, launch.port,
                                         message_of(error)));
  }
}

}  // namespace leash
