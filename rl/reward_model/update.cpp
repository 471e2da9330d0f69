#include "rl/reward_model/update.h"

#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "models/decoder/packed_texts.h"
#include "models/decoder/score_head.h"
#include "models/device/device.h"
#include "models/weights/gather_queue.h"
#include "rl/distributed/gradient_sums.h"
#include "rl/distributed/shares.h"
#include "rl/reward_model/loss.h"
#include "rollout/scoring.h"

namespace leash {
namespace {

std::vector<std::pair<int64_t, int64_t>> passes_of(PairRefs pairs, int64_t max_tokens) {
  std::vector<int64_t> lengths;
  for (const PreferencePair* pair : pairs) lengths.push_back(pair->rows());
  return micro_batches(lengths, max_tokens);
}

// An id for every sequence that pack_pairs makes of these pairs.
std::vector<uint64_t> dropout_ids(PairRefs pairs) {
  std::vector<uint64_t> ids;
  for (const PreferencePair* pair : pairs) {
    for (uint64_t part = pair->common > 0 ? 0 : 1; part < 3; ++part) {
      ids.push_back(3 * pair->id + part);
    }
  }
  return ids;
}

std::vector<double> to_doubles(const at::Tensor& tensor) {
  const at::Tensor plain = tensor.detach().to(at::kCPU, at::kDouble).contiguous();
  const auto* data = plain.const_data_ptr<double>();
  return {data, data + plain.numel()};
}

RewardSums sums_of(PairRefs pairs, const std::vector<double>& chosen,
                   const std::vector<double>& rejected) {
  RewardSums sums{.pairs = static_cast<int64_t>(chosen.size())};
  for (size_t i = 0; i < chosen.size(); ++i) {
    if (pairs[i]->tie) {
      ++sums.ties;
    } else {
      sums.correct += chosen[i] > rejected[i] ? 1 : 0;
      sums.margin += chosen[i] - rejected[i];
    }
    sums.reward += chosen[i] + rejected[i];
    sums.min_reward = std::min({sums.min_reward, chosen[i], rejected[i]});
    sums.max_reward = std::max({sums.max_reward, chosen[i], rejected[i]});
  }
  return sums;
}

// This rank's share, by the rows that go through the decoder.
std::vector<int64_t> costs_of(PairRefs pairs) {
  std::vector<int64_t> costs;
  for (const PreferencePair* pair : pairs) costs.push_back(pair->rows());
  return costs;
}
std::vector<const PreferencePair*> own_pairs(PairRefs pairs, const Communicator& communicator) {
  std::vector<const PreferencePair*> own;
  for (const int64_t index : own_share(costs_of(pairs), communicator)) own.push_back(pairs[index]);
  return own;
}

RewardSums run_micro_batch(PairRefs pairs, double normalizer, const RewardTrainConfig& config,
                           const Decoder& decoder, const Adapter& adapter,
                           const ForwardOptions& options) {
  const PackedPairs packed = pack_pairs(pairs);
  const PairScores scores = score_pairs(packed, decoder, adapter, options);
  std::vector<double> margins, ties;
  for (const PreferencePair* pair : pairs) {
    margins.push_back(pair->margin);
    ties.push_back(pair->tie ? 1.0 : 0.0);
  }
  const bool any_tie = std::ranges::any_of(pairs, &PreferencePair::tie);
  const at::Tensor loss =
      reward_loss(scores.chosen, scores.rejected, at::tensor(margins, scores.chosen.options()),
                  {.center_rewards_coefficient = config.center_rewards_coefficient.value_or(0.0),
                   .label_smoothing = config.label_smoothing},
                  normalizer, any_tie ? at::tensor(ties, scores.chosen.options()) : at::Tensor());
  torch::autograd::backward({loss}, {});
  RewardSums sums = sums_of(pairs, to_doubles(scores.chosen), to_doubles(scores.rejected));
  sums.loss = loss.item<double>();
  sums.rows = packed.tokens.ids.size(0);
  for (const PreferencePair* pair : pairs) sums.tokens += pair->tokens();
  return sums;
}

}  // namespace

TrainedModel load_reward_model(const RewardSetup& setup,
                               const std::shared_ptr<GatherQueue>& gathers) {
  const Checkpoint checkpoint = open_checkpoint(resolve_model(setup.model.path));
  const at::Device device = setup.devices.device();
  const auto decoder = Decoder::load(checkpoint, {.dtype = scalar_type(setup.model.dtype, device),
                                                  .quantize = setup.model.quantize,
                                                  .device = device,
                                                  .gathers = gathers});
  const Tokenizer tokenizer = load_chat_tokenizer(checkpoint.path, setup.data.chat);
  return {.checkpoint = checkpoint,
          .decoder = decoder,
          .tokenizer = tokenizer,
          .adapter = start_score_adapter(setup.lora, *decoder, checkpoint,
                                         static_cast<uint64_t>(setup.run.seed)),
          .environment = NumericEnvironment::current(checkpoint, setup.model, device,
                                                     {setup.data.train, setup.data.eval}),
          .notes = {{kEndingKey, ending_text(ending_of(setup.data), tokenizer)}}};
}

std::vector<const PreferencePair*> pair_refs(const std::vector<PreferencePair>& pairs) {
  std::vector<const PreferencePair*> refs;
  for (const PreferencePair& pair : pairs) refs.push_back(&pair);
  return refs;
}

PackedPairs pack_pairs(PairRefs pairs) {
  std::vector<TokenSpan> texts;
  std::vector<TextGroup> groups;
  for (const PreferencePair* pair : pairs) {
    texts.insert(texts.end(), {pair->chosen, pair->rejected});
    groups.push_back({.num_texts = 2, .shared = pair->common});
  }
  const PackedTexts packed = pack_groups(texts, groups);
  std::vector<int64_t> chosen_rows, rejected_rows;
  for (int64_t i = 0; i < std::ssize(pairs); ++i) {
    chosen_rows.push_back(packed.last_row(2 * i));
    rejected_rows.push_back(packed.last_row(2 * i + 1));
  }
  return {.tokens = packed.tokens,
          .chosen_rows = at::tensor(chosen_rows, at::kLong),
          .rejected_rows = at::tensor(rejected_rows, at::kLong)};
}

PairScores score_pairs(const PackedPairs& pairs, const Decoder& decoder, const Adapter& adapter,
                       const ForwardOptions& options) {
  const at::Tensor hidden = decoder.forward(pairs.tokens, adapter, options);
  const LinearHead head = score_head(adapter);
  const auto scores = [&](const at::Tensor& rows) {
    return head(hidden.index_select(0, on_device(rows, hidden.device()))).squeeze(1);
  };
  return {.chosen = scores(pairs.chosen_rows), .rejected = scores(pairs.rejected_rows)};
}

void RewardSums::add(const RewardSums& other) {
  loss += other.loss;
  pairs += other.pairs;
  ties += other.ties;
  correct += other.correct;
  margin += other.margin;
  reward += other.reward;
  min_reward = std::min(min_reward, other.min_reward);
  max_reward = std::max(max_reward, other.max_reward);
  tokens += other.tokens;
  rows += other.rows;
}

RewardSums accumulate_gradients(PairRefs all, int64_t step, const RewardSetup& setup,
                                const AdaptedDecoder& model, Communicator& communicator,
                                double loss_scale) {
  const std::vector<const PreferencePair*> own = own_pairs(all, communicator);
  const PairRefs pairs = own;
  const bool drops = !setup.reward.disable_dropout && model.adapter.config().lora_dropout > 0;
  const auto normalizer = static_cast<double>(all.size());
  GradientSums gradients(communicator, model.adapter.parameters());
  GatherScope scope(communicator.gathers().get(), GatherQueue::Keep::next);
  RewardSums sums;
  for (const auto& [begin, end] : passes_of(pairs, setup.reward.micro_batch_tokens)) {
    const PairRefs part = pairs.subspan(begin, end - begin);
    const DropoutKey dropout{.seed = static_cast<uint64_t>(setup.run.seed),
                             .step = static_cast<uint64_t>(step),
                             .samples = dropout_ids(part)};
    const ForwardOptions options{.dropout = drops ? &dropout : nullptr,
                                 .recompute_blocks = setup.model.gradient_checkpointing};
    if (end == std::ssize(pairs)) gradients.next_backward_is_last();
    sums.add(run_micro_batch(part, normalizer / loss_scale, setup.reward, model.decoder,
                             model.adapter, options));
  }
  scope.finish();
  RewardSums total = gradients.finish(sums);
  total.loss /= loss_scale;
  return total;
}

Metrics reward_metrics(const RewardSums& sums) {
  const auto pairs = static_cast<double>(std::max<int64_t>(sums.pairs, 1));
  const auto decided = static_cast<double>(std::max<int64_t>(sums.pairs - sums.ties, 1));
  return {{"accuracy", static_cast<double>(sums.correct) / decided},
          {"margin", sums.margin / decided},
          {"min_reward", sums.min_reward},
          {"mean_reward", sums.reward / (2.0 * pairs)},
          {"max_reward", sums.max_reward}};
}

std::vector<ScoredPair> held_out_scores(PairRefs all, int64_t micro_batch_tokens,
                                        const AdaptedDecoder& model, Communicator& communicator) {
  const c10::AutoGradMode no_grad(false);
  const std::vector<const PreferencePair*> own = own_pairs(all, communicator);
  const PairRefs pairs = own;
  GatherScope scope(communicator.gathers().get(), GatherQueue::Keep::next);
  std::vector<ScoredPair> scored;
  for (const auto& [begin, end] : passes_of(pairs, micro_batch_tokens)) {
    const PairRefs part = pairs.subspan(begin, end - begin);
    const PairScores scores = score_pairs(pack_pairs(part), model.decoder, model.adapter);
    const auto chosen = to_doubles(scores.chosen), rejected = to_doubles(scores.rejected);
    for (size_t i = 0; i < part.size(); ++i) {
      scored.push_back({.prompt = part[i]->prompt,
                        .chosen = chosen[i],
                        .rejected = rejected[i],
                        .margin = part[i]->margin,
                        .chosen_length = part[i]->chosen_length(),
                        .rejected_length = part[i]->rejected_length()});
    }
  }
  scope.finish();
  return gather_shares(costs_of(all), scored, communicator);
}

}  // namespace leash
