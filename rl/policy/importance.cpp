#include "rl/policy/importance.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/where.h>

#include <limits>

namespace leash {

at::Tensor importance_corrections(const at::Tensor& logprobs, const at::Tensor& sampled_logprobs,
                                  const at::Tensor& mask, const CorrectionRules& rules) {
  at::Tensor log_ratio = at::where(mask, logprobs - sampled_logprobs, 0.0);
  const bool sequence = rules.mode == CorrectionMode::sequence_truncate ||
                        rules.mode == CorrectionMode::sequence_mask;
  if (sequence) log_ratio = log_ratio.sum(at::IntArrayRef{1}, /*keepdim=*/true).expand_as(mask);
  const at::Tensor ratio = at::exp(log_ratio);
  constexpr double kNoBound = std::numeric_limits<double>::infinity();
  const double least = rules.clip_min.value_or(-kNoBound);
  const double most = rules.clip_max.value_or(kNoBound);
  const bool masks =
      rules.mode == CorrectionMode::token_mask || rules.mode == CorrectionMode::sequence_mask;
  const at::Tensor bounded = masks ? at::where((ratio < least) | (ratio > most), 0.0, ratio)
                                   : at::clamp(ratio, least, most);
  return at::where(mask, bounded, 1.0);
}

}  // namespace leash
