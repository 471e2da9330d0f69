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
constexpr std::chrono::microseconds kLongestPause(250);

class C10dGatherer final : public WeightGatherer {
 public:
  C10dGatherer(C10dBackend backend, at::Device device, std::shared_ptr<PeerWatch> watch,
               const Launch& launch)
      : backend_(std::move(backend)),
        device_(device),
        waits_(std::move(watch), launch, kLongestPause) {}

  // An unfinished collective would be waited for until its timeout.
  ~C10dGatherer() override {
    if (waits_.failed() || interrupted_) (void)backend_.release();
  }

  int64_t rank() const override { return waits_.launch().rank; }
  int64_t size() const override { return waits_.launch().size; }

  std::vector<int64_t> exchange(int64_t own) override {
    std::vector<int64_t> all;
    run([&] {
      std::vector<at::Tensor> input = {
          at::full({1}, own, at::TensorOptions().dtype(at::kLong).device(device_))};
      std::vector<std::vector<at::Tensor>> outputs(1);
      for (int64_t i = 0; i < size(); ++i) outputs[0].push_back(at::empty_like(input[0]));
      wait(backend_->allgather(outputs, input));
      for (const at::Tensor& output : outputs[0]) all.push_back(output.item<int64_t>());
    });
    return all;
  }

  at::Tensor gather(const at::Tensor& own) override {
    at::Tensor whole;
    run([&] {
      const at::Tensor part = own.to(device_);
      whole = at::empty({size() * part.numel()}, part.options());
      if (device_.is_cpu()) {
        gather_by_broadcasts(part, whole);
      } else {
        at::Tensor input = part;
        wait(backend_->_allgather_base(whole, input));
      }
      whole = whole.to(own.device());
    });
    return whole;
  }

  void cancel() noexcept override { cancelled_ = true; }

 private:
  // Gloo's all-gather goes through a second buffer as large as the result; broadcasts write where
  // the parts belong.
  void gather_by_broadcasts(const at::Tensor& part, const at::Tensor& whole) {
    std::vector<C10dWork> works;
    std::vector<std::vector<at::Tensor>> places;
    for (int64_t i = 0; i < size(); ++i) {
      places.push_back({whole.narrow(0, i * part.numel(), part.numel())});
      if (i == rank()) places.back()[0].copy_(part);
      works.push_back(backend_->broadcast(places.back(), {.rootRank = i}));
    }
    for (const C10dWork& work : works) wait(work);
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

  C10dBackend backend_;
  at::Device device_;
  C10dWaits waits_;
  std::atomic<bool> cancelled_ = false;
  bool interrupted_ = false;  // of the thread that gathers
};

}  // namespace

std::unique_ptr<WeightGatherer> c10d_gatherer(C10dBackend backend, at::Device device,
                                              std::shared_ptr<PeerWatch> watch,
                                              const Launch& launch) {
  return std::make_unique<C10dGatherer>(std::move(backend), device, std::move(watch), launch);
}

}  // namespace leash
