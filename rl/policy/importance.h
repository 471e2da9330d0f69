// What sampling and training disagree about, weighed into the policy's loss: answers were drawn by
// one arithmetic (log μ) and are learnt from by another (log π_old). Settings and formulas are
// those of TRL 1.16's vllm_importance_sampling_*.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string_view>
#include <utility>

#include "models/fields.h"

namespace leash {

// A ratio π_old / μ of each token, or of a whole answer (the product), and what becomes of one
// outside the bounds: it is moved to the bound, or counts 0.
enum class CorrectionMode { token_truncate, token_mask, sequence_truncate, sequence_mask };
template <>
struct EnumNames<CorrectionMode> {
  static constexpr std::pair<CorrectionMode, std::string_view> values[] = {
      {CorrectionMode::token_truncate, "token_truncate"},
      {CorrectionMode::token_mask, "token_mask"},
      {CorrectionMode::sequence_truncate, "sequence_truncate"},
      {CorrectionMode::sequence_mask, "sequence_mask"}};
};

struct CorrectionRules {
  CorrectionMode mode = CorrectionMode::sequence_mask;
  std::optional<double> clip_min = {};
  std::optional<double> clip_max = 3.0;
};

// The weight of each token's loss; 1 outside the mask. [batch, time]
at::Tensor importance_corrections(const at::Tensor& logprobs /* [batch, time] log π_old */,
                                  const at::Tensor& sampled_logprobs /* [batch, time] log μ */,
                                  const at::Tensor& mask /* [batch, time] bool */,
                                  const CorrectionRules& rules);

}  // namespace leash
