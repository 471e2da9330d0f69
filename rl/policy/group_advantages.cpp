#include "rl/policy/group_advantages.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/Exception.h>

#include "rl/policy/advantages.h"

namespace leash {
namespace {

constexpr double kStdEpsilon = 1e-4;  // TRL's
constexpr double kFlatStd = 1e-8;     // torch.isclose's absolute tolerance

// [groups, answers]
at::Tensor grouped(const at::Tensor& rewards, int64_t group_size) {
  TORCH_CHECK(rewards.dim() == 1 && group_size > 0 && rewards.size(0) % group_size == 0,
              "rewards of shape ", rewards.sizes(), " do not make groups of ", group_size);
  return rewards.view({-1, group_size});
}

at::Tensor group_stds(const at::Tensor& groups) {
  if (groups.size(1) == 1) return at::zeros_like(groups);
  return groups.std(at::IntArrayRef{1}, /*unbiased=*/true, /*keepdim=*/true);
}

at::Tensor group_means(const at::Tensor& groups) {
  return groups.mean(at::IntArrayRef{1}, /*keepdim=*/true);
}

}  // namespace

at::Tensor group_advantages(const at::Tensor& rewards, int64_t group_size, ScaleRewards scale) {
  const at::Tensor groups = grouped(rewards, group_size);
  const at::Tensor centered = groups - group_means(groups);
  switch (scale) {
    case ScaleRewards::group:
      return (centered / (group_stds(groups) + kStdEpsilon)).reshape({-1});
    case ScaleRewards::batch:
      if (rewards.numel() == 1) return at::zeros_like(rewards);
      return (centered / (rewards.std() + kStdEpsilon)).reshape({-1});
    case ScaleRewards::none:
      return centered.reshape({-1});
  }
  TORCH_CHECK(false, "unknown scale of rewards");
}

at::Tensor leave_one_out_advantages(const at::Tensor& rewards, int64_t group_size) {
  TORCH_CHECK(group_size > 1, "an answer needs others to be compared with");
  const at::Tensor groups = grouped(rewards, group_size);
  const at::Tensor sum = groups.sum(at::IntArrayRef{1}, /*keepdim=*/true);
  return (groups - (sum - groups) / (group_size - 1)).reshape({-1});
}

at::Tensor normalised_advantages(const at::Tensor& advantages) {
  if (advantages.numel() < 2) return advantages;
  return (advantages - advantages.mean()) / (advantages.std() + kStdEpsilon);
}

at::Tensor minus_baseline(const at::Tensor& rewards, int64_t group_size, Baseline baseline) {
  switch (baseline) {
    case Baseline::none:
      return rewards;
    case Baseline::batch:
      return rewards - rewards.mean();
    case Baseline::group: {
      const at::Tensor groups = grouped(rewards, group_size);
      return (groups - group_means(groups)).reshape({-1});
    }
  }
  TORCH_CHECK(false, "unknown baseline");
}

at::Tensor returns_to_go(const at::Tensor& rewards, const at::Tensor& mask, double gamma) {
  // GAE with λ = 1 and no values.
  return gae(rewards, at::zeros_like(rewards), mask, gamma, /*lam=*/1.0).advantages;
}

FlatGroups flat_group_share(const at::Tensor& rewards, int64_t group_size) {
  const std::vector<bool> flat = flat_groups(rewards, group_size);
  const at::Tensor means = group_means(grouped(rewards, group_size)).reshape({-1});
  const double least = rewards.min().item<double>(), most = rewards.max().item<double>();
  const auto of = [&](double count) { return count / static_cast<double>(flat.size()); };
  FlatGroups result;
  for (size_t i = 0; i < flat.size(); ++i) {
    if (!flat[i]) continue;
    const double mean = means[static_cast<int64_t>(i)].item<double>();
    const bool high = most - least > kFlatStd ? mean >= (least + most) / 2 : mean > 0;
    (high ? result.high : result.low) += of(1);
    result.share += of(1);
  }
  return result;
}

std::vector<bool> flat_groups(const at::Tensor& rewards, int64_t group_size) {
  const at::Tensor stds = group_stds(grouped(rewards, group_size));
  std::vector<bool> flat;
  for (int64_t i = 0; i < stds.size(0); ++i) {
    flat.push_back(stds[i][0].item<double>() <= kFlatStd);
  }
  return flat;
}

}  // namespace leash
