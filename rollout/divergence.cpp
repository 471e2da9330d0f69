#include "rollout/divergence.h"

#include <ATen/ops/log_softmax.h>
#include <ATen/ops/logaddexp.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "models/device/device.h"

namespace leash {
namespace {

// Rows whose distributions are held at a time: about 32 MB each in double.
int64_t distribution_rows(int64_t vocab) {
  return std::clamp<int64_t>((int64_t{4} << 20) / vocab, 1, 512);
}

// The same numbers on the CPU, one for each row.
struct RowNumbers {
  std::vector<double> values;
  explicit RowNumbers(const at::Tensor& rows) {
    const at::Tensor plain = rows.to(at::kCPU, at::kDouble).contiguous();
    const double* data = plain.const_data_ptr<double>();
    values.assign(data, data + plain.numel());
  }
};

void append(std::vector<double>& to, const at::Tensor& rows) {
  const RowNumbers numbers(rows);
  to.insert(to.end(), numbers.values.begin(), numbers.values.end());
}

void append(std::vector<int64_t>& to, const at::Tensor& rows) {
  const at::Tensor plain = rows.to(at::kCPU, at::kLong).contiguous();
  const int64_t* data = plain.const_data_ptr<int64_t>();
  to.insert(to.end(), data, data + plain.numel());
}

at::Tensor expectation(const at::Tensor& probabilities, const at::Tensor& values) {
  return probabilities.mul(values).sum(-1);
}

// The numbers of a batch's rows, handed out to its texts.
template <class T>
void hand_out(const std::vector<T>& rows, std::vector<T> TextDivergence::*member,
              std::span<const ScoredText> texts, std::span<const size_t> owners,
              std::vector<TextDivergence>& into) {
  auto next = rows.begin();
  for (const size_t owner : owners) {
    const int64_t count = std::ssize(texts[owner].ids) - texts[owner].answer_begin;
    (into[owner].*member).assign(next, next + count);
    next += count;
  }
}

TextDivergence compare_batch(const Decoder& decoder, const Adapter* policy,
                             const Adapter* reference, const PackedAnswers& packed,
                             MassTensors& mass) {
  const at::Tensor rows = on_device(packed.rows, decoder.device());
  const at::Tensor targets = on_device(packed.targets, decoder.device());
  const at::Tensor p = decoder.forward(packed.contexts.tokens, policy).index_select(0, rows);
  const at::Tensor q = decoder.forward(packed.contexts.tokens, reference).index_select(0, rows);
  const int64_t step = distribution_rows(decoder.config().vocab_size);
  TextDivergence all;
  for (int64_t row = 0; row < p.size(0); row += step) {
    const int64_t count = std::min(step, p.size(0) - row);
    add_divergences(decoder.logits(p.narrow(0, row, count), policy),
                    decoder.logits(q.narrow(0, row, count), reference),
                    targets.narrow(0, row, count), all, mass);
  }
  return all;
}

std::vector<double> plain_numbers(const at::Tensor& tensor) { return RowNumbers(tensor).values; }

}  // namespace

void add_divergences(const at::Tensor& policy_logits, const at::Tensor& reference_logits,
                     const at::Tensor& targets, TextDivergence& into, MassTensors& mass) {
  const at::Tensor log_p = at::log_softmax(policy_logits.to(at::kDouble), -1);
  const at::Tensor log_q = at::log_softmax(reference_logits.to(at::kDouble), -1);
  const at::Tensor p = log_p.exp(), q = log_q.exp();
  const at::Tensor log_m = at::logaddexp(log_p, log_q).sub(std::log(2.0));
  append(into.kl, expectation(p, log_p.sub(log_q)));
  append(into.reverse_kl, expectation(q, log_q.sub(log_p)));
  append(into.js, expectation(p, log_p.sub(log_m)).add(expectation(q, log_q.sub(log_m))).mul(0.5));
  append(into.entropy, expectation(p, log_p).neg());
  append(into.reference_entropy, expectation(q, log_q).neg());
  append(into.same_top, log_p.argmax(-1).eq(log_q.argmax(-1)));
  const at::Tensor picked = targets.unsqueeze(1);
  append(into.logprobs, log_p.gather(1, picked).squeeze(1));
  append(into.reference_logprobs, log_q.gather(1, picked).squeeze(1));
  const at::Tensor moved = p.sub(q);
  const auto [most, gained] = moved.max(-1);
  const auto [least, lost] = moved.min(-1);
  append(into.gained, gained);
  append(into.gained_by, most);
  append(into.lost, lost);
  append(into.lost_by, least);
  mass.policy.add_(p.sum(at::IntArrayRef{0}));
  mass.reference.add_(q.sum(at::IntArrayRef{0}));
}

Divergences divergence_texts(const Decoder& decoder, const Adapter* policy,
                             const Adapter* reference, std::span<const ScoredText> texts,
                             const ScoringOptions& options,
                             const std::function<void(int64_t)>& progress) {
  const at::NoGradGuard no_grad;
  TORCH_CHECK(options.temperature == 1.0, "divergences are those at temperature 1");
  Divergences found{.texts = std::vector<TextDivergence>(texts.size())};
  std::vector<size_t> scored;
  std::vector<AnswerText> answers;
  std::vector<TokenSpan> contexts;
  for (size_t i = 0; i < texts.size(); ++i) {
    if (std::ssize(texts[i].ids) <= texts[i].answer_begin) continue;
    scored.push_back(i);
    answers.push_back({.ids = texts[i].ids, .answer_begin = texts[i].answer_begin});
    contexts.push_back(TokenSpan(texts[i].ids).first(texts[i].ids.size() - 1));
  }
  const auto wide = at::TensorOptions().dtype(at::kDouble).device(decoder.device());
  MassTensors mass{.policy = at::zeros({decoder.config().vocab_size}, wide),
                   .reference = at::zeros({decoder.config().vocab_size}, wide)};
  for (const auto& [begin, end] : micro_batches(contexts, options.micro_batch_tokens)) {
    const auto size = static_cast<size_t>(end - begin);
    const auto first = static_cast<size_t>(begin);
    const TextDivergence batch = compare_batch(
        decoder, policy, reference, pack_answers(std::span(answers).subspan(first, size)), mass);
    const auto owners = std::span(scored).subspan(first, size);
    for (const auto member :
         {&TextDivergence::kl, &TextDivergence::reverse_kl, &TextDivergence::js,
          &TextDivergence::entropy, &TextDivergence::reference_entropy, &TextDivergence::same_top,
          &TextDivergence::logprobs, &TextDivergence::reference_logprobs,
          &TextDivergence::gained_by, &TextDivergence::lost_by}) {
      hand_out(batch.*member, member, texts, owners, found.texts);
    }
    hand_out(batch.gained, &TextDivergence::gained, texts, owners, found.texts);
    hand_out(batch.lost, &TextDivergence::lost, texts, owners, found.texts);
    if (progress) progress(end);
  }
  found.mass = {.policy = plain_numbers(mass.policy), .reference = plain_numbers(mass.reference)};
  return found;
}

}  // namespace leash
