#include "rl/dpo/loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/log_sigmoid.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/sigmoid.h>
#include <c10/util/Exception.h>

namespace leash {
namespace {

// One direction of some pairs: which answer is the better one, and log-ratios.
struct LogRatios {
  at::Tensor chosen, rejected;                // [pairs]
  at::Tensor chosen_tokens, rejected_tokens;  // [pairs]

  LogRatios turned() const { return {rejected, chosen, rejected_tokens, chosen_tokens}; }
};

at::Tensor pair_losses(DpoLoss type, const LogRatios& ratios, const DpoLossOptions& options) {
  const double beta = options.beta, smoothing = options.label_smoothing;
  const at::Tensor &chosen = ratios.chosen, &rejected = ratios.rejected;
  const at::Tensor scaled = (chosen - rejected) * beta;
  switch (type) {
    case DpoLoss::sigmoid:
      return -at::log_sigmoid(scaled);
    case DpoLoss::hinge:
      return at::relu(1.0 - scaled);
    case DpoLoss::ipo:
      return (chosen / ratios.chosen_tokens - rejected / ratios.rejected_tokens - 0.5 / beta)
          .square();
    case DpoLoss::robust:
      return (at::log_sigmoid(-scaled) * smoothing - at::log_sigmoid(scaled) * (1 - smoothing)) /
             (1 - 2 * smoothing);
    case DpoLoss::apo_zero:
      return 1.0 - at::sigmoid(chosen * beta) + at::sigmoid(rejected * beta);
    case DpoLoss::apo_down:
      return at::sigmoid(chosen * beta) + 1.0 - at::sigmoid(scaled);
    case DpoLoss::sppo_hard:
      return (chosen - 0.5 / beta).square() + (rejected + 0.5 / beta).square();
    case DpoLoss::sft:
      break;
  }
  TORCH_CHECK(false, "a loss over tokens has none per pair");
  return {};
}

// Of both directions, each with its share of the pairs: `first` where that answer is the chosen
// one.
at::Tensor both_ways(const at::Tensor& first, const at::Tensor& second, const at::Tensor& ties) {
  return first * (1.0 - ties * 0.5) + second * (ties * 0.5);
}

}  // namespace

at::Tensor dpo_loss(const PairLogprobs& pairs, const DpoLossOptions& options,
                    const DpoDivisors& divisors) {
  TORCH_CHECK(pairs.chosen.dim() == 1 && pairs.chosen.sizes() == pairs.rejected.sizes() &&
                  pairs.chosen.sizes() == pairs.reference_chosen.sizes() &&
                  pairs.chosen.sizes() == pairs.reference_rejected.sizes(),
              "dpo_loss: log-probs are [pairs]");
  TORCH_CHECK(divisors.pairs > 0, "a batch without pairs has no loss");
  TORCH_CHECK(options.types.size() == options.weights.size() && !options.types.empty(),
              "dpo_loss: a weight for each loss");
  const LogRatios ratios{pairs.chosen - pairs.reference_chosen,
                         pairs.rejected - pairs.reference_rejected, pairs.chosen_tokens,
                         pairs.rejected_tokens};
  at::Tensor total;
  for (size_t i = 0; i < options.types.size(); ++i) {
    const DpoLoss type = options.types[i];
    const bool sft = type == DpoLoss::sft;
    at::Tensor losses = sft ? -pairs.chosen_plain : pair_losses(type, ratios, options);
    if (pairs.ties.defined()) {
      losses = both_ways(losses,
                         sft ? -pairs.rejected_plain : pair_losses(type, ratios.turned(), options),
                         pairs.ties);
    }
    const at::Tensor part =
        losses.sum() * (options.weights[i] / (sft ? divisors.sft_tokens : divisors.pairs));
    total = total.defined() ? total + part : part;
  }
  return total;
}

}  // namespace leash
