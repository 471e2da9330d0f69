#include "rl/dpo/update.h"

#include <ATen/ops/tensor.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "models/device/device.h"
#include "models/weights/gather_queue.h"
#include "rl/distributed/gradient_sums.h"
#include "rl/distributed/shares.h"
#include "rl/dpo/loss.h"
#include "rollout/scoring.h"

namespace leash {
namespace {

std::vector<JudgedPair> own_pairs(JudgedPairs pairs, const Communicator& communicator) {
  std::vector<JudgedPair> own;
  for (const int64_t index : own_share(rows_of(pairs), communicator)) own.push_back(pairs[index]);
  return own;
}

// Chosen and rejected stand in turn.
struct ByAnswer {
  at::Tensor chosen, rejected;  // [pairs]
};
ByAnswer by_answer(const at::Tensor& texts /* [2 pairs] */) {
  const at::Tensor pairs = texts.view({-1, 2});
  return {.chosen = pairs.select(1, 0), .rejected = pairs.select(1, 1)};
}

at::Tensor reference_of(JudgedPairs pairs, const JudgedBatch& batch, const Reference& reference) {
  if (!pairs.front().reference) return reference_sums(batch, reference);
  std::vector<double> known;
  for (const JudgedPair& judged : pairs) {
    known.insert(known.end(), {judged.reference->chosen, judged.reference->rejected});
  }
  return on_device(at::tensor(known, at::kDouble), reference.decoder->device());
}

PairLogprobs pair_logprobs(JudgedPairs pairs, const AnswerSums& policy,
                           const at::Tensor& reference) {
  std::vector<double> chosen_tokens, rejected_tokens, ties;
  bool any_tie = false;
  for (const JudgedPair& judged : pairs) {
    const PreferencePair& pair = *judged.pair;
    chosen_tokens.push_back(static_cast<double>(std::ssize(pair.chosen) - pair.chosen_begin));
    rejected_tokens.push_back(static_cast<double>(std::ssize(pair.rejected) - pair.rejected_begin));
    ties.push_back(pair.tie ? 1.0 : 0.0);
    any_tie = any_tie || pair.tie;
  }
  const auto there = [&](const std::vector<double>& numbers) {
    return on_device(at::tensor(numbers, at::kDouble), policy.logprobs.device());
  };
  const ByAnswer sums = by_answer(policy.logprobs), plain = by_answer(policy.plain),
                 beside = by_answer(reference);
  PairLogprobs logprobs{.chosen = sums.chosen,
                        .rejected = sums.rejected,
                        .reference_chosen = beside.chosen,
                        .reference_rejected = beside.rejected,
                        .chosen_plain = plain.chosen,
                        .rejected_plain = plain.rejected,
                        .chosen_tokens = there(chosen_tokens),
                        .rejected_tokens = there(rejected_tokens),
                        .ties = {}};
  if (any_tie) logprobs.ties = there(ties);
  return logprobs;
}

DpoSums sums_of(JudgedPairs pairs, const PairLogprobs& logprobs, double beta) {
  const auto chosen = host_doubles(logprobs.chosen), rejected = host_doubles(logprobs.rejected);
  const auto reference_chosen = host_doubles(logprobs.reference_chosen);
  const auto reference_rejected = host_doubles(logprobs.reference_rejected);
  DpoSums sums{.pairs = std::ssize(pairs)};
  for (size_t i = 0; i < pairs.size(); ++i) {
    const PreferencePair& pair = *pairs[i].pair;
    sums.tokens += pair.tokens();
    sums.answer_tokens += chosen_scored(pair) + rejected_scored(pair);
    if (pair.tie) continue;
    const double chosen_reward = beta * (chosen[i] - reference_chosen[i]);
    const double rejected_reward = beta * (rejected[i] - reference_rejected[i]);
    ++sums.decided;
    sums.correct += chosen_reward > rejected_reward ? 1 : 0;
    sums.chosen_reward += chosen_reward;
    sums.rejected_reward += rejected_reward;
    sums.chosen_logprob += chosen[i];
    sums.rejected_logprob += rejected[i];
  }
  return sums;
}

DpoSums run_micro_batch(JudgedPairs pairs, const DpoDivisors& divisors, const DpoConfig& config,
                        const PolicyBesideReference& policy, const ForwardOptions& options) {
  const JudgedBatch batch = pack_pairs_of_answers(pairs, config.ld_alpha);
  const at::Tensor reference = reference_of(pairs, batch, policy.reference);
  const AnswerSums own = answer_sums(batch, *policy.model.decoder, &policy.model.adapter, options);
  const PairLogprobs logprobs = pair_logprobs(pairs, own, reference);
  const at::Tensor loss = dpo_loss(logprobs, loss_options(config), divisors);
  torch::autograd::backward({loss}, {});
  DpoSums sums = sums_of(pairs, logprobs, config.beta);
  sums.loss = loss.item<double>();
  sums.entropy = own.entropies.sum().item<double>();
  sums.rows = batch.num_rows();
  return sums;
}

DpoDivisors divisors_of(JudgedPairs pairs) {
  DpoDivisors divisors{.pairs = static_cast<double>(pairs.size()), .sft_tokens = 0};
  for (const JudgedPair& judged : pairs) {
    const auto chosen = static_cast<double>(chosen_scored(*judged.pair));
    const auto rejected = static_cast<double>(rejected_scored(*judged.pair));
    divisors.sft_tokens += judged.pair->tie ? (chosen + rejected) / 2 : chosen;
  }
  return divisors;
}

}  // namespace

DpoLossOptions loss_options(const DpoConfig& config) {
  return {.types = config.loss_type.values,
          .weights = config.loss_weights.value_or(
              std::vector<double>(config.loss_type.values.size(), 1.0)),
          .beta = config.beta,
          .label_smoothing = config.label_smoothing};
}

void DpoSums::add(const DpoSums& other) {
  loss += other.loss;
  pairs += other.pairs;
  decided += other.decided;
  correct += other.correct;
  chosen_reward += other.chosen_reward;
  rejected_reward += other.rejected_reward;
  chosen_logprob += other.chosen_logprob;
  rejected_logprob += other.rejected_logprob;
  entropy += other.entropy;
  answer_tokens += other.answer_tokens;
  tokens += other.tokens;
  rows += other.rows;
}

DpoSums accumulate_gradients(JudgedPairs all, int64_t step, const DpoSetup& setup,
                             const PolicyBesideReference& policy, Communicator& communicator,
                             double loss_scale) {
  const std::vector<JudgedPair> own = own_pairs(all, communicator);
  const JudgedPairs pairs = own;
  const Adapter& adapter = policy.model.adapter;
  const bool drops = !setup.dpo.disable_dropout && adapter.config().lora_dropout > 0;
  DpoDivisors divisors = divisors_of(all);
  divisors.pairs /= loss_scale;
  divisors.sft_tokens /= loss_scale;
  GradientSums gradients(communicator, adapter.parameters());
  GatherScope scope(communicator.gathers().get(), GatherQueue::Keep::next);
  DpoSums sums;
  for (const auto& [begin, end] : micro_batches(rows_of(pairs), setup.dpo.micro_batch_tokens)) {
    const JudgedPairs part = pairs.subspan(begin, end - begin);
    const DropoutKey dropout{.seed = static_cast<uint64_t>(setup.run.seed),
                             .step = static_cast<uint64_t>(step),
                             .samples = sequence_ids(part)};
    const ForwardOptions options{.dropout = drops ? &dropout : nullptr,
                                 .recompute_blocks = setup.model.gradient_checkpointing};
    if (end == std::ssize(pairs)) gradients.next_backward_is_last();
    sums.add(run_micro_batch(part, divisors, setup.dpo, policy, options));
  }
  scope.finish();
  DpoSums total = gradients.finish(sums);
  total.loss /= loss_scale;
  return total;
}

Metrics dpo_metrics(const DpoSums& sums) {
  const auto pairs = static_cast<double>(std::max<int64_t>(sums.decided, 1));
  return {
      {"rewards/chosen", sums.chosen_reward / pairs},
      {"rewards/rejected", sums.rejected_reward / pairs},
      {"rewards/accuracies", static_cast<double>(sums.correct) / pairs},
      {"rewards/margins", (sums.chosen_reward - sums.rejected_reward) / pairs},
      {"logps/chosen", sums.chosen_logprob / pairs},
      {"logps/rejected", sums.rejected_logprob / pairs},
      {"entropy", sums.entropy / static_cast<double>(std::max<int64_t>(sums.answer_tokens, 1))}};
}

std::vector<ComparedPair> compare_pairs(JudgedPairs all, const DpoConfig& config,
                                        const PolicyBesideReference& policy,
                                        Communicator& communicator) {
  const std::vector<JudgedPair> own = own_pairs(all, communicator);
  const JudgedPairs pairs = own;
  GatherScope scope(communicator.gathers().get(), GatherQueue::Keep::next);
  std::vector<ComparedPair> compared;
  // Each row stands twice in a pass: for the policy, then for the reference.
  const int64_t rows = std::max<int64_t>(config.micro_batch_tokens / 2, 1);
  for (const auto& [begin, end] : micro_batches(rows_of(pairs), rows)) {
    const JudgedPairs part = pairs.subspan(begin, end - begin);
    const ComparedSums sums =
        compared_sums(pack_pairs_of_answers(part, config.ld_alpha), *policy.model.decoder,
                      policy.model.adapter, policy.reference);
    const auto logprobs = host_doubles(sums.policy.logprobs),
               plain = host_doubles(sums.policy.plain);
    const auto reference = host_doubles(sums.reference), kl = host_doubles(sums.kl);
    for (size_t i = 0; i < part.size(); ++i) {
      const PreferencePair& pair = *part[i].pair;
      compared.push_back({.prompt = pair.prompt,
                          .chosen = logprobs[2 * i],
                          .rejected = logprobs[2 * i + 1],
                          .reference_chosen = reference[2 * i],
                          .reference_rejected = reference[2 * i + 1],
                          .chosen_plain = plain[2 * i],
                          .chosen_tokens = std::ssize(pair.chosen) - pair.chosen_begin,
                          .rejected_tokens = std::ssize(pair.rejected) - pair.rejected_begin,
                          .chosen_scored = chosen_scored(pair),
                          .rejected_scored = rejected_scored(pair),
                          .kl = kl[2 * i] + kl[2 * i + 1]});
    }
  }
  scope.finish();
  return gather_shares(rows_of(all), compared, communicator);
}

std::vector<double> reference_logprobs(JudgedPairs all, const DpoConfig& config,
                                       const PolicyBesideReference& policy,
                                       Communicator& communicator) {
  const std::vector<JudgedPair> own = own_pairs(all, communicator);
  const JudgedPairs pairs = own;
  GatherScope scope(communicator.gathers().get(), GatherQueue::Keep::next);
  std::vector<JudgedPair::Known> known;
  for (const auto& [begin, end] : micro_batches(rows_of(pairs), config.micro_batch_tokens)) {
    const JudgedPairs part = pairs.subspan(begin, end - begin);
    const auto sums = host_doubles(
        reference_sums(pack_pairs_of_answers(part, config.ld_alpha), policy.reference));
    for (size_t i = 0; i < part.size(); ++i) known.push_back({sums[2 * i], sums[2 * i + 1]});
  }
  scope.finish();
  std::vector<double> numbers;
  for (const JudgedPair::Known& each : gather_shares(rows_of(all), known, communicator)) {
    numbers.insert(numbers.end(), {each.chosen, each.rejected});
  }
  return numbers;
}

}  // namespace leash
