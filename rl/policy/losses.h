// The losses of PPO (Schulman et al. 2017) and its relatives, with the diagnostics that people
// read. Inputs are packed [tokens], or [batch, time] where no answer is looked at as a whole; sums
// run over `mask` and are divided by what the whole minibatch gives (over all micro-batches and
// ranks), so that splitting into micro-batches changes nothing.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "models/fields.h"
#include "rl/policy/kl.h"

namespace leash {

// What a probability ratio is taken of: each token; a whole answer as the geometric mean over its
// tokens (GSPO, Zheng et al. 2025, eq. 7); a whole answer as their product (RLOO, as TRL), which no
// recipe chooses.
enum class RatioLevel { token, sequence, sequence_product };
template <>
struct EnumNames<RatioLevel> {
  static constexpr std::pair<RatioLevel, std::string_view> values[] = {
      {RatioLevel::token, "token"}, {RatioLevel::sequence, "sequence"}};
};

// How a token's loss follows from ratio ρ and advantage A.
enum class SurrogateKind {
  clipped,  // max(-A min(ρ, δ), -A clip(ρ, 1-ε, 1+ε_high)): PPO's eq. 7, clip-higher, and with δ
            // above 1+ε_high dual clip (Ye et al. 2020, eq. 5)
  cispo,  // -A min(ρ, ε_high) log π, the weight without gradient (MiniMax-M1 2025, eq. 4)
  sapo,   // -A 4/τ sigmoid(τ (ρ - 1)), τ by the sign of A (SAPO 2025)
  vespo   // -A φ(w) log π, w the product of an answer's ratios, φ a gamma weight (VESPO 2026)
};

// What the sum of token losses is divided by.
enum class Aggregation {
  tokens,            // the minibatch's counted tokens
  iteration_tokens,  // those of the whole iteration, over its minibatches
  answers,           // each answer is a mean over its tokens, the minibatch a mean over answers
  answer_sums,       // each answer is a sum over its tokens, the minibatch a mean over answers
  constant_length    // answers times the longest that an answer may be
};

struct SurrogateRules {
  RatioLevel level = RatioLevel::token;
  SurrogateKind kind = SurrogateKind::clipped;
  Aggregation aggregation = Aggregation::tokens;
  double epsilon = 0.2, epsilon_high = 0.2;
  std::optional<double> delta = {};
  double sapo_temperature_neg = 1.05, sapo_temperature_pos = 1.0;
  double vespo_k_pos = 2.0, vespo_lambda_pos = 3.0, vespo_k_neg = 3.0, vespo_lambda_neg = 2.0;
  double kl_coef = 0;  // of the estimate that is added to a token's loss (0: none)
  KlEstimator kl_estimator = KlEstimator::k3;
  bool kl_bias_correction = true;  // the estimate times ρ
  double entropy_coef = 0;         // of the mean entropy, which is subtracted from the loss
};

// Some answers' tokens, one answer after another.
struct AnswerTokens {
  at::Tensor logprobs;      // differentiable, nats
  at::Tensor old_logprobs;  // of the policy that sampled
  at::Tensor advantages;
  at::Tensor mask;                     // bool, tokens that count
  at::Tensor acts = {};                // bool, where the surrogate acts (undefined: everywhere)
  at::Tensor reference_logprobs = {};  // undefined: none, and no estimated KL in the loss
  at::Tensor entropies = {};           // differentiable, where rules.entropy_coef is not 0
  at::Tensor exact_kl = {};            // differentiable, with KlEstimator::exact
  at::Tensor corrections = {};         // factors of the surrogate (undefined: 1)
  std::vector<int64_t> lengths = {};   // tokens of each answer; where a rule looks at whole ones
};

// Sums over this micro-batch's counted tokens.
struct SurrogateLoss {
  at::Tensor loss;                           // scalar, differentiable
  double clipped_low = 0, clipped_high = 0;  // tokens that the clip took the gradient from, A < 0
                                             // and A > 0
  double approx_kl = 0;                      // (log ρ)² / 2 of tokens, TRL's policy/approxkl_avg
  double ratio_sum = 0, ratio_squares = 0;
  double kl = 0;  // of what was added, without its coefficient
};
// `acting`: tokens of the whole minibatch on which the surrogate acts: the entropy bonus is their
// mean whatever the aggregation, as TRL's.
SurrogateLoss surrogate_loss(const AnswerTokens& batch, const SurrogateRules& rules, double divisor,
                             double acting = 1);

// What a divisor depends on.
struct MinibatchSize {
  double answers = 0;           // counted or not
  double tokens = 0;            // counted
  double iteration_tokens = 0;  // counted
  double num_mini_batches = 1;
  double longest = 1;  // tokens that an answer may have
};
// At least 1 where tokens are counted, as TRL.
double loss_divisor(Aggregation aggregation, const MinibatchSize& size);

// Tokens with an entropy of at least the (1 - quantile) quantile of all masked ones (Wang et al.
// 2025, "Beyond the 80/20 Rule"). Same shape, false outside the mask.
at::Tensor high_entropy_mask(const at::Tensor& entropies, const at::Tensor& mask, double quantile);

struct ValueLoss {
  at::Tensor loss;  // scalar, differentiable: sum of max((V-R)², (clip(V, V_old ± ε) - R)²) / 2 /
                    // num_tokens; without ε of (V-R)² / 2
  double clipped = 0;  // tokens where the clipped term was the larger
};
ValueLoss value_loss(const at::Tensor& values, const at::Tensor& old_values,
                     const at::Tensor& returns, const at::Tensor& mask,
                     std::optional<double> cliprange_value, double num_tokens);

}  // namespace leash
