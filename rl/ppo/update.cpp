#include "rl/ppo/update.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "models/decoder/packed_texts.h"
#include "models/device/device.h"
#include "models/errors.h"
#include "models/random/random.h"
#include "models/weights/gather_queue.h"
#include "rl/distributed/gradient_sums.h"
#include "rl/distributed/shares.h"
#include "rl/policy/losses.h"
#include "rl/training/parts.h"
#include "rollout/scoring.h"

namespace leash {
namespace {

// What stable-baselines3, Spinning Up and TRL 0.11 allow beyond target_kl.
constexpr double kTargetKlSlack = 1.5;

// Some answers in one packed batch.
struct MicroBatch {
  PackedAnswers answers;
  at::Tensor picked;  // [answer tokens] index into the flattened [batch, time] tensors

  const PackedTokens& tokens() const { return answers.contexts.tokens; }
};

std::vector<int64_t> text_of(const Completion& answer) {
  std::vector<int64_t> ids = answer.prompt_ids;
  ids.insert(ids.end(), answer.token_ids.begin(), answer.token_ids.end());
  return ids;
}

MicroBatch pack_rows(const Experience& experience, std::span<const int64_t> rows) {
  std::vector<std::vector<int64_t>> texts;
  std::vector<int64_t> picked;
  const int64_t time = experience.mask.size(1);
  for (const int64_t row : rows) {
    const Completion& answer = experience.answers[row];
    texts.push_back(text_of(answer));
    for (int64_t j = 0; j < std::ssize(answer.token_ids); ++j) picked.push_back(row * time + j);
  }
  std::vector<AnswerText> answers;
  for (size_t i = 0; i < rows.size(); ++i) {
    answers.push_back(
        {.ids = texts[i], .answer_begin = std::ssize(experience.answers[rows[i]].prompt_ids)});
  }
  return {.answers = pack_answers(answers), .picked = at::tensor(picked, at::kLong)};
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
    const MicroBatch batch = pack_rows(experience, missing);
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
                         const at::Tensor& policy_rows, const PpoSetup& setup,
                         const PolicyRoles& roles, Experience& experience) {
  const Critic& critic = *roles.critic;
  if (critic.kind == CriticKind::shared) {
    return critic.head(critic.backprop_to_policy ? policy_rows : policy_rows.detach()).squeeze(1);
  }
  if (critic.has_frozen_trunk()) {
    return critic.head(frozen_states(*critic.decoder, rows, experience)).squeeze(1);
  }
  const Adapter* adapter = critic.adapter ? &*critic.adapter : nullptr;
  const at::Tensor hidden = critic.decoder->forward(
      batch.tokens(), adapter, {.recompute_blocks = setup.model.gradient_checkpointing});
  return critic.head(hidden.index_select(0, on_device(batch.answers.rows, hidden.device())))
      .squeeze(1);
}

UpdateSums run_micro_batch(Experience& experience, std::span<const int64_t> rows, double num_tokens,
                           const PpoSetup& setup, const PolicyRoles& roles) {
  const MicroBatch batch = pack_rows(experience, rows);
  // Values of the batch's answer tokens, on the device where a loss is computed.
  const auto pick = [&](const at::Tensor& values, const at::Tensor& like) {
    return on_device(values.view({-1}).index_select(0, batch.picked), like.device());
  };
  const at::Tensor hidden = roles.decoder->forward(
      batch.tokens(), roles.policy, {.recompute_blocks = setup.model.gradient_checkpointing});
  const at::Tensor predicting =
      hidden.index_select(0, on_device(batch.answers.rows, hidden.device()));
  const auto scores = roles.decoder->token_scores(predicting, batch.answers.targets,
                                                  setup.rollout.temperature, roles.policy);
  const at::Tensor& logprobs = scores.logprobs;
  const at::Tensor old_logprobs = pick(experience.logprobs, logprobs);
  const PolicyLoss policy =
      policy_loss(logprobs, old_logprobs, pick(experience.advantages, logprobs),
                  pick(experience.mask, logprobs), setup.ppo.cliprange, num_tokens);
  ValueLoss value;
  at::Tensor loss = policy.loss;
  if (roles.critic) {
    const at::Tensor values = critic_values(batch, rows, predicting, setup, roles, experience);
    value = value_loss(values, pick(experience.values, values), pick(experience.returns, values),
                       pick(experience.mask, values), setup.ppo.cliprange_value, num_tokens);
    // A critic elsewhere sends its one number.
    loss = loss.add(value.loss.to(loss.device()), setup.ppo.vf_coef);
  }
  torch::autograd::backward({loss}, {});

  const at::Tensor gap = logprobs.detach().sub(pick(experience.sampled_logprobs, logprobs)).abs();
  return {.tokens = static_cast<double>(batch.answers.targets.size(0)),
          .policy_loss = policy.loss.item<double>(),
          .value_loss = roles.critic ? value.loss.item<double>() : 0.0,
          .clipped = policy.clipped,
          .value_clipped = value.clipped,
          .approx_kl = policy.approx_kl,
          .entropy = scores.entropies.sum().item<double>(),
          .ratio = policy.ratio_sum,
          .ratio_squares = policy.ratio_squares,
          .gap_max = gap.max().item<double>(),
          .gap_sum = gap.sum().item<double>()};
}

Metrics update_metrics(const UpdateSums& sums, const UpdateSums& first) {
  const double ratio = sums.ratio / sums.tokens;
  const auto steps = static_cast<double>(sums.num_steps);
  return {{"policy/approxkl_avg", sums.approx_kl / sums.tokens},
          {"policy/clipfrac_avg", sums.clipped / sums.tokens},
          {"policy/entropy_avg", sums.entropy / sums.tokens},
          {"loss/policy_avg", sums.policy_loss / steps},
          {"loss/value_avg", sums.value_loss / steps},
          {"val/clipfrac_avg", sums.value_clipped / sums.tokens},
          {"val/ratio", ratio},
          {"val/ratio_var", std::max(0.0, sums.ratio_squares / sums.tokens - ratio * ratio)},
          {"policy/logprob_gap_max", first.gap_max},
          {"policy/logprob_gap_mean", first.gap_sum / first.tokens},
          {"policy/grad_norm", sums.policy_grad_norm / steps},
          {"critic/grad_norm", sums.critic_grad_norm / steps}};
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
bool passes_target_kl(const PpoConfig& config, const UpdateSums& epoch) {
  return config.target_kl && epoch.approx_kl / epoch.tokens > kTargetKlSlack * *config.target_kl;
}

}  // namespace

std::vector<int64_t> minibatch_rows(const PpoConfig& config, uint64_t seed, int64_t step,
                                    int64_t epoch, int64_t index) {
  const auto order = draw_permutation(
      {seed, Purpose::minibatch, static_cast<uint64_t>(step), static_cast<uint64_t>(epoch)},
      config.batch_size);
  const int64_t size = config.batch_size / config.num_mini_batches;
  return {order.begin() + index * size, order.begin() + (index + 1) * size};
}

void UpdateSums::add(const UpdateSums& other) {
  tokens += other.tokens;
  policy_loss += other.policy_loss;
  value_loss += other.value_loss;
  clipped += other.clipped;
  value_clipped += other.value_clipped;
  approx_kl += other.approx_kl;
  entropy += other.entropy;
  ratio += other.ratio;
  ratio_squares += other.ratio_squares;
  gap_max = std::max(gap_max, other.gap_max);
  gap_sum += other.gap_sum;
  num_steps += other.num_steps;
  policy_grad_norm += other.policy_grad_norm;
  critic_grad_norm += other.critic_grad_norm;
}

UpdateSums accumulate_gradients(Experience& experience, const std::vector<int64_t>& rows,
                                const PpoSetup& setup, const PolicyRoles& roles,
                                Communicator& communicator) {
  std::vector<int64_t> lengths;
  double num_tokens = 0;
  for (const int64_t row : rows) {
    const Completion& answer = experience.answers[row];
    lengths.push_back(static_cast<int64_t>(answer.prompt_ids.size() + answer.token_ids.size()) - 1);
    num_tokens += static_cast<double>(answer.token_ids.size());
  }
  std::vector<int64_t> own_rows;
  std::vector<std::vector<int64_t>> texts;
  for (const int64_t index : own_share(lengths, communicator)) {
    own_rows.push_back(rows[index]);
    texts.push_back(text_of(experience.answers[rows[index]]));
    texts.back().pop_back();  // a target only
  }
  GradientSums gradients(communicator, trained_parameters(roles));
  GatherScope scope(communicator.gathers().get(), GatherQueue::Keep::next);
  UpdateSums sums;
  for (const auto& [begin, end] : micro_batches(std::vector<TokenSpan>(texts.begin(), texts.end()),
                                                setup.ppo.micro_batch_tokens)) {
    if (end == std::ssize(own_rows)) gradients.next_backward_is_last();
    sums.add(run_micro_batch(experience, std::span(own_rows).subspan(begin, end - begin),
                             num_tokens, setup, roles));
  }
  scope.finish();
  return gradients.finish(sums);
}

Metrics update(Experience& experience, int64_t step, const LearningRates& rates,
               const UpdateParts& parts) {
  const auto& [setup, roles, optimizers, communicator] = parts;
  const PpoConfig& config = setup.ppo;
  UpdateSums total;
  UpdateSums first;  // before any parameter moved: what sampling and training disagree about
  int64_t epoch = 0;
  for (bool went_far = false; epoch < config.num_ppo_epochs && !went_far; ++epoch) {
    UpdateSums of_epoch;
    for (int64_t index = 0; index < config.num_mini_batches; ++index) {
      optimizers.policy.zero_grad();
      optimizers.critic.zero_grad();
      const auto rows =
          minibatch_rows(config, static_cast<uint64_t>(setup.run.seed), step, epoch, index);
      UpdateSums sums = accumulate_gradients(experience, rows, setup, roles, communicator);
      sums.num_steps = 1;
      sums.policy_grad_norm = clip_grad_norm(optimizers.policy.parameters(), config.max_grad_norm);
      sums.critic_grad_norm = clip_grad_norm(optimizers.critic.parameters(), config.max_grad_norm);
      require_finite(sums, step, epoch, index);
      optimizers.policy.step(rates.policy);
      optimizers.critic.step(rates.critic);
      require_finite_update(optimizers.policy.parameters(), "policy's", step, rates.policy);
      require_finite_update(optimizers.critic.parameters(), "critic's", step, rates.critic);
      if (total.num_steps == 0) first = sums;
      total.add(sums);
      of_epoch.add(sums);
    }
    went_far = passes_target_kl(config, of_epoch);
  }
  Metrics metrics = update_metrics(total, first);
  if (config.target_kl) metrics.emplace_back("policy/num_epochs", static_cast<double>(epoch));
  return metrics;
}

}  // namespace leash
