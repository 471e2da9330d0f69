// Per-token rewards from scores and KL.
#include "rl/policy/rewards.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/where.h>
#include <c10/util/Exception.h>

namespace leash {
namespace {

// Column of each row where the score lands; -1: nowhere. [batch]
at::Tensor score_columns(const at::Tensor& mask, ScorePosition position) {
  const at::Tensor lengths = mask.sum(1);
  switch (position) {
    case ScorePosition::last_token:
      return lengths - 1;
    case ScorePosition::after_last:
      return at::where(lengths < mask.size(1), lengths, lengths - 1);
  }
  TORCH_CHECK(false, "unknown score position");
}

}  // namespace

at::Tensor shape_rewards(const at::Tensor& scores, const at::Tensor& kl, const at::Tensor& mask,
                         double kl_coef, ScorePosition position) {
  TORCH_CHECK(kl.dim() == 2 && kl.sizes() == mask.sizes() && scores.dim() == 1 &&
                  scores.size(0) == kl.size(0),
              "scores ", scores.sizes(), ", kl ", kl.sizes(), " and mask ", mask.sizes(),
              " do not fit");
  TORCH_CHECK(mask.scalar_type() == at::kBool, "the mask has to be boolean");
  const int64_t time = mask.size(1);
  if (time > 1) {
    const at::Tensor holes = mask.narrow(1, 1, time - 1) & ~mask.narrow(1, 0, time - 1);
    TORCH_CHECK(!holes.any().item<bool>(), "answers start at column 0 and have no holes");
  }
  const at::Tensor penalty = at::where(mask, kl * -kl_coef, 0.0);
  const at::Tensor columns = at::arange(time, mask.options().dtype(at::kLong)).unsqueeze(0);
  const at::Tensor here = columns == score_columns(mask, position).unsqueeze(1);
  return at::where(here, penalty + scores.to(kl.scalar_type()).unsqueeze(1), penalty);
}

at::Tensor penalise_missing_eos(const at::Tensor& scores, const at::Tensor& ended, double penalty) {
  TORCH_CHECK(scores.sizes() == ended.sizes(), "scores ", scores.sizes(), " and ended ",
              ended.sizes(), " differ in shape");
  TORCH_CHECK(ended.scalar_type() == at::kBool, "`ended` has to be boolean");
  return at::where(ended, scores, scores - penalty);
}

at::Tensor overlong_penalties(const at::Tensor& lengths, int64_t longest, int64_t buffer,
                              double factor) {
  TORCH_CHECK(buffer > 0, "the buffer has to hold a token");
  const at::Tensor beyond = lengths.to(at::kDouble) - static_cast<double>(longest - buffer);
  return beyond.clamp(0.0, static_cast<double>(buffer)) * (factor / static_cast<double>(buffer));
}

}  // namespace leash
