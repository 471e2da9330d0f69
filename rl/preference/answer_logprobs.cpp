#include "rl/preference/answer_logprobs.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include <utility>

#include "models/device/device.h"

namespace leash {
namespace {

at::Tensor picked_rows(const at::Tensor& hidden, const at::Tensor& rows) {
  return hidden.index_select(0, on_device(rows, hidden.device()));
}

// Σ over each text's tokens, one after the other: adding rows by index has no fixed order on a GPU.
at::Tensor text_sums(const at::Tensor& values, const JudgedBatch& batch) {
  std::vector<at::Tensor> sums;
  for (const at::Tensor& part : values.split_with_sizes(batch.lengths)) sums.push_back(part.sum());
  return at::stack(sums);
}

AnswerSums sums_of_states(const at::Tensor& states /* [answer tokens, hidden] */,
                          const JudgedBatch& batch, const Decoder& decoder,
                          const Adapter* adapter) {
  const TokenScores scores =
      decoder.token_scores(states, batch.answers.targets, /*temperature=*/1.0, adapter);
  const at::Tensor logprobs = scores.logprobs.to(at::kDouble);
  AnswerSums sums{.logprobs = {},
                  .plain = text_sums(logprobs, batch),
                  .entropies = text_sums(scores.entropies.to(at::kDouble), batch)};
  sums.logprobs = batch.weights.defined()
                      ? text_sums(logprobs * on_device(batch.weights, logprobs.device()), batch)
                      : sums.plain;
  return sums;
}

}  // namespace

JudgedBatch pack_judged(std::span<const AnswerText> texts, std::span<const TextGroup> groups,
                        const std::optional<LengthWeights>& weights) {
  std::vector<int64_t> lengths;
  std::vector<double> factors;
  for (size_t i = 0; i < texts.size(); ++i) {
    lengths.push_back(std::ssize(texts[i].ids) - texts[i].answer_begin);
    for (int64_t place = 0; weights && place < lengths.back(); ++place) {
      factors.push_back(place < weights->full_tokens[i] ? 1.0 : weights->tail);
    }
  }
  JudgedBatch batch{
      .answers = pack_answers(texts, groups), .lengths = std::move(lengths), .weights = {}};
  if (weights) batch.weights = at::tensor(factors, at::kDouble);
  return batch;
}

JudgedBatch pack_judged(std::span<const AnswerText> texts) {
  JudgedBatch batch{.answers = pack_by_prompt(texts), .lengths = {}, .weights = {}};
  for (const AnswerText& text : texts) {
    batch.lengths.push_back(std::ssize(text.ids) - text.answer_begin);
  }
  return batch;
}

JudgedBatch pack_alone(std::span<const AnswerText> texts) {
  return pack_judged(texts, std::vector<TextGroup>(texts.size(), {.num_texts = 1, .shared = 0}));
}

AnswerSums answer_sums(const JudgedBatch& batch, const Decoder& decoder, const Adapter* adapter,
                       const ForwardOptions& options) {
  const at::Tensor hidden = decoder.forward(batch.tokens(), adapter, options);
  return sums_of_states(picked_rows(hidden, batch.answers.rows), batch, decoder, adapter);
}

at::Tensor reference_sums(const JudgedBatch& batch, const Reference& reference) {
  const at::NoGradGuard no_grad;
  return answer_sums(batch, *reference.decoder, reference.adapter_or_none()).logprobs;
}

ComparedSums compared_sums(const JudgedBatch& batch, const Decoder& decoder, const Adapter& adapter,
                           const Reference& reference, bool with_kl) {
  const at::NoGradGuard no_grad;
  const Adapter* beside = reference.adapter_or_none();
  const at::Tensor& rows = batch.answers.rows;
  at::Tensor policy_states, reference_states;
  if (reference.decoder.get() == &decoder) {
    AdapterRows ranges;
    ranges.ranges = {{&adapter, batch.num_rows()}, {beside, batch.num_rows()}};
    const at::Tensor hidden = decoder.forward(packed_twice(batch.tokens()), ranges);
    policy_states = picked_rows(hidden, rows);
    reference_states = picked_rows(hidden, rows + batch.num_rows());
  } else {
    policy_states = picked_rows(decoder.forward(batch.tokens(), adapter), rows);
    reference_states = picked_rows(reference.decoder->forward(batch.tokens(), beside), rows);
  }
  ComparedSums sums{
      .policy = sums_of_states(policy_states, batch, decoder, &adapter),
      .reference = sums_of_states(reference_states, batch, *reference.decoder, beside).logprobs,
      .kl = {}};
  if (with_kl) {
    const at::Tensor kl = decoder.exact_kl(policy_states, adapter, *reference.decoder,
                                           reference_states, beside, /*temperature=*/1.0);
    sums.kl = text_sums(kl.to(at::kDouble), batch);
  }
  return sums;
}

std::vector<double> host_doubles(const at::Tensor& numbers) {
  const at::Tensor plain = numbers.detach().to(at::kCPU, at::kDouble).contiguous();
  const auto* data = plain.const_data_ptr<double>();
  return {data, data + plain.numel()};
}

}  // namespace leash
