#include "rl/policy/update.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <optional>
#include <span>

#include "models/decoder/packed_texts.h"
#include "models/device/device.h"
#include "models/errors.h"
#include "models/weights/gather_queue.h"
#include "rl/distributed/gradient_sums.h"
#include "rl/training/parts.h"
#include "rollout/scoring.h"

namespace leash {
namespace {

// What stable-baselines3, Spinning Up and TRL 0.11 allow beyond target_kl.
constexpr double kTargetKlSlack = 1.5;

// Some answers in one packed batch.
struct MicroBatch {
  PackedAnswers answers;
  at::Tensor picked;             // [answer tokens] index into the flattened [batch, time] tensors
  std::vector<int64_t> lengths;  // tokens of each answer

  const PackedTokens& tokens() const { return answers.contexts.tokens; }
};

// One optimizer step: its loss, and what its micro-batches have to know of all its rows.
struct Minibatch {
  const UpdateRules& rules;
  const PolicyRoles& roles;
  double divisor = 1;     // of the policy's loss
  double num_tokens = 1;  // of the critic's loss
  double acting = 1;      // tokens on which the policy's loss acts
  at::Tensor acts = {};   // [batch, time] bool, see AnswerTokens; undefined: everywhere
};

std::vector<int64_t> text_of(const Completion& answer) {
  std::vector<int64_t> ids = answer.prompt_ids;
  ids.insert(ids.end(), answer.token_ids.begin(), answer.token_ids.end());
  return ids;
}

const at::Tensor& counted(const Experience& experience) {
  return experience.counted.defined() ? experience.counted : experience.mask;
}

// Each answer as a text, in their order. `texts` holds the ids.
std::vector<AnswerText> answer_texts(const Experience& experience, std::span<const int64_t> rows,
                                     std::vector<std::vector<int64_t>>& texts) {
  for (const int64_t row : rows) texts.push_back(text_of(experience.answers[row]));
  std::vector<AnswerText> answers;
  for (size_t i = 0; i < rows.size(); ++i) {
    answers.push_back(
        {.ids = texts[i], .answer_begin = std::ssize(experience.answers[rows[i]].prompt_ids)});
  }
  return answers;
}

MicroBatch pack_rows(const Experience& experience, std::span<const int64_t> rows, bool grouped) {
  std::vector<std::vector<int64_t>> texts;
  const auto answers = answer_texts(experience, rows, texts);
  std::vector<int64_t> picked, lengths;
  const int64_t time = experience.mask.size(1);
  for (const int64_t row : rows) {
    lengths.push_back(std::ssize(experience.answers[row].token_ids));
    for (int64_t j = 0; j < lengths.back(); ++j) picked.push_back(row * time + j);
  }
  return {.answers = grouped ? pack_by_prompt(answers) : pack_answers(answers),
          .picked = at::tensor(picked, at::kLong),
          .lengths = std::move(lengths)};
}

// Which of this rank's rows run together.
std::vector<std::pair<int64_t, int64_t>> passes_of(const Experience& experience,
                                                   const std::vector<int64_t>& rows,
                                                   const UpdateRules& rules) {
  std::vector<std::vector<int64_t>> texts;
  const auto answers = answer_texts(experience, rows, texts);
  if (rules.minibatches.group_size > 1) {
    return micro_batches_by_prompt(answers, rules.micro_batch_tokens);
  }
  std::vector<TokenSpan> contexts;  // the last token is a target only
  for (const AnswerText& answer : answers) {
    contexts.push_back(answer.ids.first(answer.ids.size() - 1));
  }
  return micro_batches(contexts, rules.micro_batch_tokens);
}

// What a frozen trunk says about these answers, asked for those alone that this rank has not met
// yet. [answer tokens, hidden]
at::Tensor frozen_states(const Decoder& trunk, std::span<const int64_t> rows,
                         Experience& experience) {
  std::vector<at::Tensor>& known = experience.critic_states;
  known.resize(experience.answers.size());
  std::vector<int64_t> missing;
  std::ranges::copy_if(rows, std::back_inserter(missing),
                       [&](int64_t row) { return !known[row].defined(); });
  if (!missing.empty()) {
    const at::NoGradGuard no_grad;
    const MicroBatch batch = pack_rows(experience, missing, /*grouped=*/false);
    const at::Tensor hidden = trunk.forward(batch.tokens(), nullptr);
    const at::Tensor states =
        hidden.index_select(0, on_device(batch.answers.rows, hidden.device()));
    int64_t begin = 0;
    for (const int64_t row : missing) {
      const auto count = static_cast<int64_t>(experience.answers[row].token_ids.size());
      known[row] = states.narrow(0, begin, count);
      begin += count;
    }
  }
  std::vector<at::Tensor> parts;
  for (const int64_t row : rows) parts.push_back(known[row]);
  return at::cat(parts);
}

at::Tensor critic_values(const MicroBatch& batch, std::span<const int64_t> rows,
                         const at::Tensor& policy_rows, const Minibatch& minibatch,
                         Experience& experience) {
  const Critic& critic = *minibatch.roles.critic;
  if (critic.kind == CriticKind::shared) {
    return critic.head(critic.backprop_to_policy ? policy_rows : policy_rows.detach()).squeeze(1);
  }
  if (critic.has_frozen_trunk()) {
    return critic.head(frozen_states(*critic.decoder, rows, experience)).squeeze(1);
  }
  const Adapter* adapter = critic.adapter ? &*critic.adapter : nullptr;
  const at::Tensor hidden = critic.decoder->forward(
      batch.tokens(), adapter, {.recompute_blocks = minibatch.rules.recompute_blocks});
  return critic.head(hidden.index_select(0, on_device(batch.answers.rows, hidden.device())))
      .squeeze(1);
}

// Entropies and exact KL, where a loss has them; [1 or 2, answer tokens], else undefined.
at::Tensor whole_distribution_terms(const MicroBatch& batch, const at::Tensor& predicting,
                                    const Minibatch& minibatch) {
  const SurrogateRules& surrogate = minibatch.rules.surrogate;
  const PolicyRoles& roles = minibatch.roles;
  const bool exact = surrogate.kl_coef != 0 && surrogate.kl_estimator == KlEstimator::exact;
  if (!exact && surrogate.entropy_coef == 0) return {};
  if (!exact) {
    return roles.decoder->distribution_terms(predicting, roles.policy, std::nullopt,
                                             minibatch.rules.temperature);
  }
  const Reference& reference = roles.reference;
  at::Tensor states;
  {
    const at::NoGradGuard no_grad;
    const at::Tensor hidden =
        reference.decoder->forward(batch.tokens(), reference.adapter_or_none());
    states = hidden.index_select(0, on_device(batch.answers.rows, hidden.device()));
  }
  return roles.decoder->distribution_terms(
      predicting, roles.policy,
      Decoder::ReferenceStates{*reference.decoder, states, reference.adapter_or_none()},
      minibatch.rules.temperature);
}

UpdateSums run_micro_batch(Experience& experience, std::span<const int64_t> rows,
                           const Minibatch& minibatch) {
  const auto& [rules, roles, divisor, num_tokens, acting, acts] = minibatch;
  const MicroBatch batch = pack_rows(experience, rows, rules.minibatches.group_size > 1);
  // Values of the batch's answer tokens, on the device where a loss is computed.
  const auto pick = [&](const at::Tensor& values, const at::Tensor& like) {
    if (!values.defined()) return values;
    return on_device(values.view({-1}).index_select(0, batch.picked), like.device());
  };
  // A policy that stands still needs no graph, but for a critic that reads it with one.
  const bool reads = roles.critic && roles.critic->backprop_to_policy;
  const c10::AutoGradMode graph(!rules.policy_stands_still || reads);
  const at::Tensor hidden = roles.decoder->forward(batch.tokens(), roles.policy,
                                                   {.recompute_blocks = rules.recompute_blocks});
  const at::Tensor predicting =
      hidden.index_select(0, on_device(batch.answers.rows, hidden.device()));
  const auto scores = roles.decoder->token_scores(predicting, batch.answers.targets,
                                                  rules.temperature, roles.policy);
  const at::Tensor& logprobs = scores.logprobs;
  const at::Tensor mask = pick(counted(experience), logprobs);
  const at::Tensor terms = whole_distribution_terms(batch, predicting, minibatch);
  const SurrogateLoss policy =
      surrogate_loss({.logprobs = logprobs,
                      .old_logprobs = pick(experience.logprobs, logprobs),
                      .advantages = pick(experience.advantages, logprobs),
                      .mask = mask,
                      .acts = pick(acts, logprobs),
                      .reference_logprobs = pick(experience.reference_logprobs, logprobs),
                      .entropies = terms.defined() ? terms[0] : at::Tensor(),
                      .exact_kl = terms.defined() && terms.size(0) > 1 ? terms[1] : at::Tensor(),
                      .corrections = pick(experience.corrections, logprobs),
                      .lengths = batch.lengths},
                     rules.surrogate, divisor, acting);
  const c10::AutoGradMode with_grad(true);
  ValueLoss value;
  at::Tensor loss = rules.policy_stands_still ? at::zeros_like(policy.loss) : policy.loss;
  if (roles.critic && rules.value) {
    const at::Tensor values = critic_values(batch, rows, predicting, minibatch, experience);
    value = value_loss(values, pick(experience.values, values), pick(experience.returns, values),
                       pick(experience.mask, values), rules.value->cliprange, num_tokens);
    // A critic elsewhere sends its one number.
    loss = loss.add(value.loss.to(loss.device()), rules.value->coef);
  }
  if (loss.requires_grad()) torch::autograd::backward({loss}, {});

  const at::Tensor gap = at::where(
      mask, logprobs.detach().sub(pick(experience.sampled_logprobs, logprobs)).abs(), 0.0);
  return {.tokens = mask.sum().item<double>(),
          .policy_loss = policy.loss.item<double>(),
          .value_loss = value.loss.defined() ? value.loss.item<double>() : 0.0,
          .clipped_low = policy.clipped_low,
          .clipped_high = policy.clipped_high,
          .value_clipped = value.clipped,
          .approx_kl = policy.approx_kl,
          .entropy = at::where(mask, scores.entropies, 0.0).sum().item<double>(),
          .ratio = policy.ratio_sum,
          .ratio_squares = policy.ratio_squares,
          .kl = policy.kl,
          .gap_max = gap.max().item<double>(),
          .gap_sum = gap.sum().item<double>()};
}

Minibatch minibatch_of(const Experience& experience, const std::vector<int64_t>& rows,
                       const UpdateRules& rules, const PolicyRoles& roles) {
  const at::Tensor index = at::tensor(rows, at::kLong);
  const at::Tensor counts = counted(experience).sum(1);
  const auto tokens = counts.index_select(0, index).sum().item<double>();
  Minibatch minibatch{.rules = rules, .roles = roles};
  minibatch.num_tokens = experience.mask.sum(1).index_select(0, index).sum().item<double>();
  minibatch.divisor =
      loss_divisor(rules.surrogate.aggregation,
                   {.answers = static_cast<double>(rows.size()),
                    .tokens = tokens,
                    .iteration_tokens = counts.sum().item<double>(),
                    .num_mini_batches = static_cast<double>(rules.minibatches.num_mini_batches),
                    .longest = static_cast<double>(rules.longest_answer)});
  minibatch.acting = std::max(tokens, 1.0);
  if (rules.top_entropy_quantile < 1) {
    at::Tensor here = at::zeros_like(experience.mask);
    here.index_copy_(0, index, counted(experience).index_select(0, index));
    minibatch.acts = high_entropy_mask(experience.entropies, here, rules.top_entropy_quantile);
    minibatch.acting = std::max(minibatch.acts.sum().item<double>(), 1.0);
  }
  return minibatch;
}

Metrics update_metrics(const UpdateSums& sums, const UpdateSums& first, const UpdateRules& rules) {
  // Answers that were all cut off, and masked, leave nothing to take a mean of.
  const double tokens = std::max(sums.tokens, 1.0);
  const double ratio = sums.ratio / tokens;
  const auto steps = static_cast<double>(sums.num_steps);
  Metrics metrics = {{"policy/approxkl_avg", sums.approx_kl / tokens},
                     {"policy/clipfrac_avg", (sums.clipped_low + sums.clipped_high) / tokens},
                     {"policy/entropy_avg", sums.entropy / tokens},
                     {"loss/policy_avg", sums.policy_loss / steps}};
  const auto add = [&](const char* name, double value) { metrics.emplace_back(name, value); };
  if (rules.value) {
    add("loss/value_avg", sums.value_loss / steps);
    add("val/clipfrac_avg", sums.value_clipped / tokens);
  } else {
    add("clip_ratio/low_mean", sums.clipped_low / tokens);
    add("clip_ratio/high_mean", sums.clipped_high / tokens);
  }
  if (rules.surrogate.kl_coef != 0) add("loss/kl_avg", sums.kl / tokens);
  add("val/ratio", ratio);
  add("val/ratio_var", std::max(0.0, sums.ratio_squares / tokens - ratio * ratio));
  add("policy/logprob_gap_max", first.gap_max);
  add("policy/logprob_gap_mean", first.gap_sum / std::max(first.tokens, 1.0));
  add("policy/grad_norm", sums.policy_grad_norm / steps);
  if (rules.value) add("critic/grad_norm", sums.critic_grad_norm / steps);
  return metrics;
}

void require_finite(const UpdateSums& sums, int64_t step, int64_t epoch, int64_t index) {
  for (const auto& [name, value] : {std::pair<const char*, double>{"policy loss", sums.policy_loss},
                                    {"value loss", sums.value_loss},
                                    {"gradient norm of the policy", sums.policy_grad_norm},
                                    {"gradient norm of the critic", sums.critic_grad_norm}}) {
    if (!std::isfinite(value)) {
      throw NonFinite(
          fmt::format("step {}: the {} is {} in epoch {}, minibatch {}; the update was not applied",
                      step, name, value, epoch + 1, index + 1));
    }
  }
}

// Sums are those of all ranks, so that all of them stop together.
bool passes_target_kl(const UpdateRules& rules, const UpdateSums& epoch) {
  return rules.target_kl &&
         epoch.approx_kl / std::max(epoch.tokens, 1.0) > kTargetKlSlack * *rules.target_kl;
}

}  // namespace

UpdateRules update_rules(const PolicySetup& setup, const PolicyConfig& config) {
  return {
      .minibatches = {.batch_size = config.batch_size, .num_mini_batches = config.num_mini_batches},
      .micro_batch_tokens = config.micro_batch_tokens,
      .longest_answer = setup.rollout.response_length,
      .seed = static_cast<uint64_t>(setup.run.seed),
      .temperature = setup.rollout.temperature,
      .recompute_blocks = setup.model.gradient_checkpointing,
      .max_grad_norm = config.max_grad_norm,
      .surrogate = {.entropy_coef = config.entropy_coef}};
}

void UpdateSums::add(const UpdateSums& other) {
  tokens += other.tokens;
  policy_loss += other.policy_loss;
  value_loss += other.value_loss;
  clipped_low += other.clipped_low;
  clipped_high += other.clipped_high;
  value_clipped += other.value_clipped;
  approx_kl += other.approx_kl;
  entropy += other.entropy;
  ratio += other.ratio;
  ratio_squares += other.ratio_squares;
  kl += other.kl;
  gap_max = std::max(gap_max, other.gap_max);
  gap_sum += other.gap_sum;
  num_steps += other.num_steps;
  policy_grad_norm += other.policy_grad_norm;
  critic_grad_norm += other.critic_grad_norm;
}

UpdateSums accumulate_gradients(Experience& experience, const std::vector<int64_t>& rows,
                                const UpdateRules& rules, const PolicyRoles& roles,
                                Communicator& communicator) {
  const Minibatch minibatch = minibatch_of(experience, rows, rules, roles);
  const std::vector<int64_t> own =
      own_rows(experience, rows, rules.minibatches.group_size, communicator);
  GradientSums gradients(communicator, trained_parameters(roles));
  GatherScope scope(communicator.gathers().get(), GatherQueue::Keep::next);
  UpdateSums sums;
  for (const auto& [begin, end] : passes_of(experience, own, rules)) {
    if (end == std::ssize(own)) gradients.next_backward_is_last();
    sums.add(run_micro_batch(experience, std::span(own).subspan(begin, end - begin), minibatch));
  }
  scope.finish();
  return gradients.finish(sums);
}

Metrics update(Experience& experience, int64_t step, const LearningRates& rates,
               const UpdateRules& rules, const UpdateActors& actors) {
  const auto& [roles, optimizers, communicator] = actors;
  UpdateSums total;
  UpdateSums first;  // before any parameter moved: what sampling and training disagree about
  int64_t epoch = 0;
  for (bool went_far = false; epoch < rules.num_epochs && !went_far; ++epoch) {
    UpdateSums of_epoch;
    for (int64_t index = 0; index < rules.minibatches.num_mini_batches; ++index) {
      optimizers.policy.zero_grad();
      optimizers.critic.zero_grad();
      const auto rows = minibatch_rows(rules.minibatches, rules.seed, step, epoch, index);
      UpdateSums sums = accumulate_gradients(experience, rows, rules, roles, communicator);
      sums.num_steps = 1;
      sums.policy_grad_norm = clip_grad_norm(optimizers.policy.parameters(), rules.max_grad_norm);
      sums.critic_grad_norm = clip_grad_norm(optimizers.critic.parameters(), rules.max_grad_norm);
      require_finite(sums, step, epoch, index);
      if (!rules.policy_stands_still) optimizers.policy.step(rates.policy);
      optimizers.critic.step(rates.critic);
      require_finite_update(optimizers.policy.parameters(), "policy's", step, rates.policy);
      require_finite_update(optimizers.critic.parameters(), "critic's", step, rates.critic);
      if (total.num_steps == 0) first = sums;
      total.add(sums);
      of_epoch.add(sums);
    }
    went_far = passes_target_kl(rules, of_epoch);
  }
  Metrics metrics = update_metrics(total, first, rules);
  if (rules.target_kl) metrics.emplace_back("policy/num_epochs", static_cast<double>(epoch));
  return metrics;
}

}  // namespace leash
