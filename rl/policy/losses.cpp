// The losses of PPO and its relatives.
#include "rl/policy/losses.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/clamp_max.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/log.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/quantile.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <numeric>
#include <vector>

namespace leash {
namespace {

// TRL's bounds of VESPO's log weights.
constexpr double kLargestLogWeight = 20;
const double kLeastLogWeight = std::log(1e-8);

void check_inputs(const at::Tensor& mask, double divisor,
                  std::initializer_list<at::Tensor> inputs) {
  TORCH_CHECK(mask.scalar_type() == at::kBool, "the mask has to be boolean");
  TORCH_CHECK(divisor > 0, "a minibatch without answer tokens has no loss");
  for (const at::Tensor& input : inputs) {
    TORCH_CHECK(input.sizes() == mask.sizes(), "an input of shape ", input.sizes(),
                " does not fit the mask of shape ", mask.sizes());
  }
}

// Several sums in one copy to the host, as doubles.
std::vector<double> sums(std::initializer_list<at::Tensor> terms) {
  std::vector<at::Tensor> scalars;
  for (const at::Tensor& term : terms) scalars.push_back(term.detach().to(at::kDouble).sum());
  const at::Tensor host = at::stack(scalars).cpu();
  const auto* data = host.const_data_ptr<double>();
  return {data, data + host.numel()};
}

// From tokens to answers and back. Products with a matrix of zeros and ones: unlike scattered
// additions, they add up in one order on every device.
class Answers {
 public:
  Answers(const std::vector<int64_t>& lengths, const at::Tensor& mask, const at::Tensor& like) {
    const int64_t tokens = std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
    TORCH_CHECK(mask.dim() == 1 && mask.size(0) == tokens, "answers of ", tokens,
                " tokens do not fit a mask of shape ", mask.sizes());
    at::Tensor rows = at::zeros({std::ssize(lengths), tokens}, at::kBool);
    int64_t begin = 0;
    for (int64_t i = 0; i < std::ssize(lengths); ++i) {
      rows[i].narrow(0, begin, lengths[static_cast<size_t>(i)]).fill_(true);
      begin += lengths[static_cast<size_t>(i)];
    }
    members_ = rows.to(like.options().requires_grad(false));
    counts_ = sum(mask.to(members_.scalar_type())).clamp_min(1);
  }
  at::Tensor sum(const at::Tensor& tokens) const { return at::mv(members_, tokens); }
  at::Tensor mean(const at::Tensor& tokens) const { return sum(tokens) / counts_; }
  at::Tensor spread(const at::Tensor& answers) const { return at::mv(members_.t(), answers); }
  const at::Tensor& counts() const { return counts_; }

 private:
  at::Tensor members_;  // [answers, tokens] 0 or 1
  at::Tensor counts_;   // [answers], counted tokens, at least 1
};

struct TokenLosses {
  at::Tensor losses;
  at::Tensor clipped;  // bool
};

TokenLosses clipped_losses(const at::Tensor& ratio, const at::Tensor& advantage,
                           const SurrogateRules& rules) {
  const at::Tensor bounded = rules.delta ? at::clamp_max(ratio, *rules.delta) : ratio;
  const at::Tensor plain = -advantage * bounded;
  const at::Tensor clipped =
      -advantage * at::clamp(ratio, 1.0 - rules.epsilon, 1.0 + rules.epsilon_high);
  return {.losses = at::maximum(plain, clipped), .clipped = clipped > plain};
}

TokenLosses cispo_losses(const at::Tensor& ratio, const at::Tensor& advantage,
                         const at::Tensor& logprobs, const SurrogateRules& rules) {
  const at::Tensor weight = at::clamp_max(ratio.detach(), rules.epsilon_high);
  return {.losses = -weight * advantage * logprobs,
          .clipped = (ratio.detach() > rules.epsilon_high) & (advantage > 0)};
}

TokenLosses sapo_losses(const at::Tensor& ratio, const at::Tensor& advantage,
                        const SurrogateRules& rules) {
  const at::Tensor ones = at::ones_like(advantage);
  const at::Tensor temperature = at::where(advantage > 0, ones * rules.sapo_temperature_pos,
                                           ones * rules.sapo_temperature_neg);
  const at::Tensor gate = at::sigmoid(temperature * (ratio - 1)) * 4 / temperature;
  return {.losses = -gate * advantage, .clipped = at::zeros_like(advantage, at::kBool)};
}

TokenLosses vespo_losses(const at::Tensor& log_ratio, const at::Tensor& advantage,
                         const at::Tensor& logprobs, const at::Tensor& corrections,
                         const Answers& answers, const SurrogateRules& rules) {
  at::Tensor token = at::clamp(log_ratio.detach(), -kLargestLogWeight, kLargestLogWeight);
  // VESPO's weight takes the correction up, as TRL's get_gamma_weights.
  if (corrections.defined()) {
    token = token + at::clamp(at::log(corrections), kLeastLogWeight, kLargestLogWeight);
  }
  const at::Tensor log_w =
      answers.spread(at::clamp(answers.sum(token), kLeastLogWeight, kLargestLogWeight));
  const at::Tensor ones = at::ones_like(advantage), positive = advantage >= 0;
  const at::Tensor k = at::where(positive, ones * rules.vespo_k_pos, ones * rules.vespo_k_neg);
  const at::Tensor lambda =
      at::where(positive, ones * rules.vespo_lambda_pos, ones * rules.vespo_lambda_neg)
          .clamp_min(1e-4);
  const at::Tensor phi =
      at::exp(lambda + k * log_w - lambda * at::exp(log_w)).nan_to_num(0.0, 0.0, 0.0);
  return {.losses = -phi * advantage * logprobs, .clipped = at::zeros_like(advantage, at::kBool)};
}

bool looks_at_answers(const SurrogateRules& rules) {
  return rules.level != RatioLevel::token || rules.kind == SurrogateKind::vespo ||
         rules.aggregation == Aggregation::answers;
}

at::Tensor ratio_of(const at::Tensor& log_ratio, const std::optional<Answers>& answers,
                    RatioLevel level) {
  switch (level) {
    case RatioLevel::token:
      return at::exp(log_ratio);
    case RatioLevel::sequence:
      return at::exp(answers->spread(answers->mean(log_ratio)));
    case RatioLevel::sequence_product:
      return at::exp(answers->spread(answers->sum(log_ratio)));
  }
  TORCH_CHECK(false, "unknown level of ratios");
}

// What is added of KL, before its coefficient. Exact KL needs no ratio: it is a mean over the
// policy itself already, in states that the old one came to.
at::Tensor kl_in_loss(const AnswerTokens& batch, const at::Tensor& logprobs,
                      const at::Tensor& ratio, const SurrogateRules& rules) {
  if (rules.kl_estimator == KlEstimator::exact) return at::where(batch.mask, batch.exact_kl, 0.0);
  const at::Tensor reference = at::where(batch.mask, batch.reference_logprobs, 0.0);
  const at::Tensor kl = kl_estimate(logprobs, reference, rules.kl_estimator);
  return rules.kl_bias_correction ? kl * ratio : kl;
}

}  // namespace

SurrogateLoss surrogate_loss(const AnswerTokens& batch, const SurrogateRules& rules, double divisor,
                             double acting) {
  const at::Tensor& mask = batch.mask;
  check_inputs(mask, divisor, {batch.logprobs, batch.old_logprobs, batch.advantages});
  std::optional<Answers> answers;
  if (looks_at_answers(rules)) answers.emplace(batch.lengths, mask, batch.logprobs);
  // Masked before exp: its gradient at a NaN outside the mask would be NaN, whatever follows.
  const at::Tensor log_ratio = at::where(mask, batch.logprobs - batch.old_logprobs, 0.0);
  const at::Tensor advantage = at::where(mask, batch.advantages, 0.0);
  const at::Tensor logprobs = at::where(mask, batch.logprobs, 0.0);
  const at::Tensor ratio = ratio_of(log_ratio, answers, rules.level);
  const at::Tensor corrections =
      batch.corrections.defined() ? at::where(mask, batch.corrections, 1.0) : at::Tensor();
  TokenLosses token;
  switch (rules.kind) {
    case SurrogateKind::clipped:
      token = clipped_losses(ratio, advantage, rules);
      break;
    case SurrogateKind::cispo:
      token = cispo_losses(ratio, advantage, logprobs, rules);
      break;
    case SurrogateKind::sapo:
      token = sapo_losses(ratio, advantage, rules);
      break;
    case SurrogateKind::vespo:
      token = vespo_losses(log_ratio, advantage, logprobs, corrections, *answers, rules);
      break;
  }
  at::Tensor losses =
      batch.acts.defined() ? at::where(batch.acts, token.losses, 0.0) : token.losses;
  if (corrections.defined() && rules.kind != SurrogateKind::vespo) losses = losses * corrections;
  at::Tensor kl = at::zeros_like(log_ratio);
  if (rules.kl_coef != 0) {
    kl = kl_in_loss(batch, logprobs, ratio, rules);
    losses = losses + kl * rules.kl_coef;
  }
  if (rules.aggregation == Aggregation::answers) {
    losses = losses * answers->spread(1 / answers->counts());
  }
  SurrogateLoss result;
  result.loss = at::where(mask, losses, 0.0).sum() / divisor;
  if (rules.entropy_coef != 0) {
    const at::Tensor here = batch.acts.defined() ? mask & batch.acts : mask;
    result.loss =
        result.loss - at::where(here, batch.entropies, 0.0).sum() * (rules.entropy_coef / acting);
  }
  const auto totals = sums({token.clipped & (advantage < 0), token.clipped & (advantage > 0),
                            log_ratio * log_ratio * 0.5, at::where(mask, ratio, 0.0),
                            at::where(mask, ratio * ratio, 0.0), at::where(mask, kl, 0.0)});
  result.clipped_low = totals[0];
  result.clipped_high = totals[1];
  result.approx_kl = totals[2];
  result.ratio_sum = totals[3];
  result.ratio_squares = totals[4];
  result.kl = totals[5];
  return result;
}

double loss_divisor(Aggregation aggregation, const MinibatchSize& size) {
  switch (aggregation) {
    case Aggregation::tokens:
      return std::max(size.tokens, 1.0);
    case Aggregation::iteration_tokens:
      return std::max(size.iteration_tokens, 1.0) / size.num_mini_batches;
    case Aggregation::answers:
    case Aggregation::answer_sums:
      return size.answers;
    case Aggregation::constant_length:
      return size.answers * size.longest;
  }
  TORCH_CHECK(false, "unknown aggregation");
}

at::Tensor high_entropy_mask(const at::Tensor& entropies, const at::Tensor& mask, double quantile) {
  check_inputs(mask, 1, {entropies});
  const at::Tensor counted = entropies.masked_select(mask);
  if (counted.numel() == 0) return at::zeros_like(mask);
  return mask & (entropies >= at::quantile(counted, 1.0 - quantile));
}

ValueLoss value_loss(const at::Tensor& values, const at::Tensor& old_values,
                     const at::Tensor& returns, const at::Tensor& mask,
                     std::optional<double> cliprange_value, double num_tokens) {
  check_inputs(mask, num_tokens, {values, old_values, returns});
  const at::Tensor value = at::where(mask, values, 0.0);
  const at::Tensor old_value = at::where(mask, old_values, 0.0);
  const at::Tensor target = at::where(mask, returns, 0.0);
  const at::Tensor plain = (value - target).square();
  ValueLoss result;
  if (!cliprange_value) {
    result.loss = plain.sum() / (2.0 * num_tokens);
    return result;
  }
  const at::Tensor near =
      at::clamp(value, old_value - *cliprange_value, old_value + *cliprange_value);
  const at::Tensor clipped = (near - target).square();
  result.loss = at::maximum(plain, clipped).sum() / (2.0 * num_tokens);
  result.clipped = sums({clipped > plain}).front();
  return result;
}

}  // namespace leash
