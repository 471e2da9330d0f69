#include "rl/distributed/c10d_gatherer.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <c10/core/GradMode.h>

#include <atomic>
#include <utility>
#include <vector>

namespace leash {
namespace {

// A block is waited for dozens of times in a pass.
constexpr std::chrono::microseconds kLongestGatherPause(250);

class C10dGatherer final : public WeightGatherer {
 public:
  C10dGatherer(GatherBackends backends, at::Device device, std::shared_ptr<PeerWatch> watch,
               const Launch& launch)
      : backends_(std::move(backends)),
        device_(device),
        waits_(std::move(watch), launch, kLongestGatherPause) {}

  // An unfinished collective would be waited for until its timeout.
  ~C10dGatherer() override {
    if (!waits_.failed() && !interrupted_) return;
    (void)backends_.parts.release();
    (void)backends_.words.release();
  }

  int64_t rank() const override { return waits_.launch().rank; }
  int64_t size() const override { return waits_.launch().size; }

  std::vector<int64_t> exchange(int64_t own) override {
    std::vector<int64_t> all;
    run([&] {
      std::vector<at::Tensor> input = {at::full({1}, own, at::kLong)};
      std::vector<std::vector<at::Tensor>> outputs(1);
      for (int64_t i = 0; i < size(); ++i) outputs[0].push_back(at::empty_like(input[0]));
      wait(backends_.words->allgather(outputs, input));
      for (const at::Tensor& output : outputs[0]) all.push_back(output.item<int64_t>());
    });
    return all;
  }

  at::Tensor gather(const at::Tensor& own) override {
    at::Tensor whole;
    run([&] { whole = device_.is_cpu() ? gather_by_broadcasts(own) : gather_on_device(own); });
    return whole;
  }

  void cancel() noexcept override { cancelled_ = true; }

 private:
  // Gloo's all-gather goes through a second buffer as large as the result; broadcasts write where
  // the parts belong. What a device holds comes and goes through memory of the host (as it would
  // within Gloo, but with no more copies than that takes); page-locked, it goes by itself.
  at::Tensor gather_by_broadcasts(const at::Tensor& part) {
    const bool pinned = part.is_cuda();
    const at::Tensor whole =
        at::empty({size() * part.numel()}, part.options().device(at::kCPU).pinned_memory(pinned));
    std::vector<C10dWork> works;
    std::vector<std::vector<at::Tensor>> places;
    for (int64_t i = 0; i < size(); ++i) {
      places.push_back({whole.narrow(0, i * part.numel(), part.numel())});
      if (i == rank()) places.back()[0].copy_(part);
      works.push_back(backends_.parts->broadcast(places.back(), {.rootRank = i}));
    }
    for (const C10dWork& work : works) wait(work);
    return whole.to(part.device(), /*non_blocking=*/pinned);
  }

  // With NCCL. wait() has seen the collective's end; behind it the current stream waits for NCCL's.
  at::Tensor gather_on_device(const at::Tensor& own) {
    at::Tensor part = own.to(device_);
    at::Tensor whole = at::empty({size() * part.numel()}, part.options());
    wait(backends_.parts->_allgather_base(whole, part));
    return whole.to(own.device());
  }

  void wait(const C10dWork& work) {
    waits_.wait(work, [this] { return cancelled_.load(); });
  }

  // Nobody is to blame for what was cancelled here.
  template <class Collective>
  void run(const Collective& collective) {
    const c10::AutoGradMode no_grad(false);
    waits_.run("gather", [&] {
      try {
        if (cancelled_) throw CommunicationError("");
        collective();
      } catch (const std::exception&) {
        if (!cancelled_) throw;
        interrupted_ = true;
      }
    });
    if (cancelled_) throw CommunicationError("gathers were cancelled");
  }

  GatherBackends backends_;
  at::Device device_;
  C10dWaits waits_;
  std::atomic<bool> cancelled_ = false;
  bool interrupted_ = false;  // of the thread that gathers
};

}  // namespace

std::unique_ptr<WeightGatherer> c10d_gatherer(GatherBackends backends, at::Device device,
                                              std::shared_ptr<PeerWatch> watch,
                                              const Launch& launch) {
  return std::make_unique<C10dGatherer>(std::move(backends), device, std::move(watch), launch);
}

}  // namespace leash
