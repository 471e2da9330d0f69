// Estimators of KL from log-probs, and the adaptive coefficient.
#include "rl/policy/kl.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/expm1.h>
#include <c10/util/Exception.h>

#include <algorithm>

namespace leash {

at::Tensor kl_estimate(const at::Tensor& logprobs, const at::Tensor& reference_logprobs,
                       KlEstimator estimator) {
  TORCH_CHECK(logprobs.sizes() == reference_logprobs.sizes(), "log-probs of policy ",
              logprobs.sizes(), " and reference ", reference_logprobs.sizes(), " differ in shape");
  const at::Tensor log_ratio = logprobs - reference_logprobs;  // log p/q
  switch (estimator) {
    case KlEstimator::k1:
      return log_ratio;
    case KlEstimator::k2:
      return log_ratio * log_ratio * 0.5;
    case KlEstimator::k3:
      // expm1: for small ratios the difference would otherwise be all rounding.
      return at::expm1(-log_ratio) + log_ratio;
    case KlEstimator::exact:
      TORCH_CHECK(false, "exact KL is of whole distributions, not of drawn tokens");
  }
  TORCH_CHECK(false, "unknown KL estimator");
}

void AdaptiveKl::update(double kl, int64_t episodes) {
  const double error = std::clamp(kl / target - 1.0, -0.2, 0.2);
  coefficient *= 1.0 + error * std::min(static_cast<double>(episodes) / horizon, 1.0);
}

}  // namespace leash
