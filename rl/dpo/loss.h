// Losses of direct preference optimisation, as TRL 1.16's DPOTrainer computes them. Pure functions.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace leash {

// With log-ratios c = log π(y_c|x) / π_ref(y_c|x) of the chosen answer and r of the rejected one,
// d = c - r, β, ε = label_smoothing, and n_c, n_r tokens of the answers:
//   sigmoid    -log σ(β d)                                  Rafailov et al. 2023, 2305.18290, eq. 7
//   hinge      max(0, 1 - β d)                              Zhao et al. 2023, SLiC, 2305.10425
//   ipo        (c / n_c - r / n_r - 1 / (2 β))²             Azar et al. 2023, 2310.12036, eq. 17
//   robust     [-(1-ε) log σ(β d) + ε log σ(-β d)] / (1-2ε) Chowdhury et al. 2024, 2403.00409
//   apo_zero   1 - σ(β c) + σ(β r)                          D'Oosterlinck et al. 2024, 2408.06266,
//   7 apo_down   σ(β c) + 1 - σ(β d)                          the same, eq. 8 sppo_hard  (c - 1 /
//   (2 β))² + (r + 1 / (2 β))²          Wu et al. 2024, 2405.00675, eq. 4.7 sft        -log
//   π(y_c|x), mean over the tokens of all chosen answers
enum class DpoLoss { sigmoid, hinge, ipo, robust, apo_zero, apo_down, sppo_hard, sft };

struct DpoLossOptions {
  std::vector<DpoLoss> types = {DpoLoss::sigmoid};
  std::vector<double> weights = {1.0};  // of each type
  double beta = 0.1;
  double label_smoothing = 0;
};

// Of some pairs, [pairs] each, nats.
struct PairLogprobs {
  at::Tensor chosen, rejected;                      // differentiable
  at::Tensor reference_chosen, reference_rejected;  // of the reference
  at::Tensor chosen_plain, rejected_plain;    // of whole answers whatever ld_alpha is, for sft
  at::Tensor chosen_tokens, rejected_tokens;  // tokens of the answers
  at::Tensor ties;                            // 1 where neither is preferred; undefined: nowhere
};

// What the sums are divided by, of the whole batch, so that cutting it into micro-batches changes
// nothing.
struct DpoDivisors {
  double pairs = 1;
  double sft_tokens = 1;
};

// Scalar: the types' means over pairs, added up with their weights. A tie counts as half a pair
// either way.
at::Tensor dpo_loss(const PairLogprobs& pairs, const DpoLossOptions& options,
                    const DpoDivisors& divisors);

}  // namespace leash
