#include "rl/distributed/gradient_sums.h"

#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <utility>

namespace leash {
namespace {

constexpr int64_t kLeastBytes = 1 << 20;
constexpr int64_t kMostBytes = 25 << 20;
constexpr int64_t kNumBuckets = 16;

}  // namespace

std::vector<std::vector<size_t>> gradient_buckets(const std::vector<at::Tensor>& parameters,
                                                  int64_t bytes) {
  int64_t all = 0;
  for (const at::Tensor& parameter : parameters) all += static_cast<int64_t>(parameter.nbytes());
  const int64_t full = bytes > 0 ? bytes : std::clamp(all / kNumBuckets, kLeastBytes, kMostBytes);
  std::vector<std::vector<size_t>> buckets;
  int64_t filled = full;
  for (size_t i = parameters.size(); i-- > 0;) {
    if (filled >= full) {
      buckets.emplace_back();
      filled = 0;
    }
    buckets.back().push_back(i);
    filled += static_cast<int64_t>(parameters[i].nbytes());
  }
  return buckets;
}

// Called by the AccumulateGrad node of a leaf, after it added to .grad; once in a backward pass,
// however often the leaf was used, on the thread that runs the pass.
struct GradientSums::Hook final : torch::autograd::PostAccumulateGradHook {
  Hook(GradientSums& owner, size_t index) : sums(owner), parameter(index) {}
  void operator()(const at::Tensor&) override { sums.gradient_is_final(parameter); }
  GradientSums& sums;
  size_t parameter;
};

GradientSums::GradientSums(Communicator& communicator, std::vector<at::Tensor> parameters,
                           int64_t bucket_bytes)
    : communicator_(communicator) {
  if (communicator.size() == 1) return;
  parameters_ = std::move(parameters);
  bucket_of_.resize(parameters_.size());
  num_having_.resize(parameters_.size());
  num_arrivals_.resize(parameters_.size());
  for (auto& members : gradient_buckets(parameters_, bucket_bytes)) {
    for (const size_t i : members) bucket_of_[i] = buckets_.size();
    const size_t size = members.size();
    buckets_.push_back({.members = std::move(members), .num_missing = size});
  }
}

GradientSums::~GradientSums() { remove_hooks(); }

void GradientSums::next_backward_is_last() {
  if (communicator_.size() == 1) return;
  TORCH_CHECK(!hooked_ && num_sent_ == 0, "a step has one last backward pass");
  hooked_ = true;
  last_pass_at_ = Timeline::Clock::now();
  for (size_t i = 0; i < parameters_.size(); ++i) {
    TORCH_CHECK(torch::autograd::impl::post_acc_grad_hooks(parameters_[i]) == nullptr, "parameter ",
                i, " is named twice, or its gradient has another hook");
    torch::autograd::impl::set_post_acc_grad_hooks(parameters_[i],
                                                   std::make_unique<Hook>(*this, i));
  }
}

void GradientSums::gradient_is_final(size_t parameter) {
  // Autograd has a thread for each device, and one pass may cross several.
  const std::lock_guard lock(mutex_);
  TORCH_CHECK(++num_arrivals_[parameter] == 1,
              "another backward pass after the last one: parameter ", parameter,
              " may have been sent already");
  --buckets_[bucket_of_[parameter]].num_missing;
  if (!communicator_.sums_beside_gathers()) return;
  while (num_sent_ < buckets_.size() && buckets_[num_sent_].num_missing == 0) send_next();
}

void GradientSums::send_next() {
  Bucket& bucket = buckets_[num_sent_++];
  for (const size_t i : bucket.members) {
    const at::Tensor& gradient = parameters_[i].grad();
    num_having_[i] = gradient.defined() ? 1 : 0;
    bucket.sums.push_back(gradient.defined() ? gradient : at::zeros_like(parameters_[i].detach()));
  }
  bucket.pending = communicator_.start_all_reduce(bucket.sums);
}

void GradientSums::finish_with(const at::Tensor& table) {
  if (hooked_ && communicator_.timeline() != nullptr) {
    communicator_.timeline()->overlapping_span("last pass", last_pass_at_, Timeline::Clock::now());
  }
  remove_hooks();
  while (num_sent_ < buckets_.size()) send_next();
  const at::Tensor having = at::tensor(num_having_, at::kLong);
  const auto rest = communicator_.start_all_reduce({having, table});
  for (Bucket& bucket : buckets_) bucket.pending->wait();
  rest->wait();
  const auto* count = having.const_data_ptr<int64_t>();
  for (const Bucket& bucket : buckets_) {
    for (size_t i = 0; i < bucket.members.size(); ++i) {
      at::Tensor parameter = parameters_[bucket.members[i]];
      if (count[bucket.members[i]] > 0 && !parameter.grad().defined()) {
        parameter.mutable_grad() = bucket.sums[i];
      }
    }
  }
}

void GradientSums::remove_hooks() {
  if (!hooked_) return;
  hooked_ = false;
  for (const at::Tensor& parameter : parameters_) {
    const auto& hook = torch::autograd::impl::post_acc_grad_hooks(parameter);
    const auto* own = dynamic_cast<const Hook*>(hook.get());
    if (own != nullptr && &own->sums == this) {
      torch::autograd::impl::set_post_acc_grad_hooks(parameter, nullptr);
    }
  }
}

at::Tensor GradientSums::row_of_bytes(const void* bytes, size_t size) const {
  at::Tensor table = at::zeros({communicator_.size(), static_cast<int64_t>(size)}, at::kByte);
  std::memcpy(table[communicator_.rank()].mutable_data_ptr(), bytes, size);
  return table;
}

}  // namespace leash
