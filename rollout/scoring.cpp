// A text's last token is predicted and never read: its row is left out of every forward. Row r of a
// text's hidden states says what comes at r + 1.
#include "rollout/scoring.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "models/decoder/packed_texts.h"
#include "models/device/device.h"
#include "models/errors.h"
#include "rollout/inputs.h"

namespace leash {
namespace {

int64_t length(const std::vector<int64_t>& ids) { return static_cast<int64_t>(ids.size()); }

// Some texts in one packed batch.
struct AnswerBatch {
  std::vector<size_t> text_of;  // which text each context is
  PackedAnswers answers;

  const PackedTokens& tokens() const { return answers.contexts.tokens; }
  int64_t num_tokens() const { return tokens().ids.size(0); }
};

std::vector<AnswerBatch> answer_batches(std::span<const ScoredText> texts,
                                        const DecoderConfig& config, int64_t max_tokens,
                                        bool by_prompt = false) {
  std::vector<size_t> scored;  // texts that have an answer at all
  std::vector<AnswerText> answers;
  std::vector<TokenSpan> contexts;
  for (size_t i = 0; i < texts.size(); ++i) {
    check_ids(texts[i].ids, config, fmt::format("text {}", i));
    TORCH_CHECK(texts[i].answer_begin >= 1 && texts[i].answer_begin <= length(texts[i].ids),
                "text ", i, " has ", texts[i].ids.size(), " tokens, its answer cannot begin at ",
                texts[i].answer_begin);
    if (texts[i].answer_begin == length(texts[i].ids)) continue;
    scored.push_back(i);
    answers.push_back({.ids = texts[i].ids, .answer_begin = texts[i].answer_begin});
    contexts.push_back(TokenSpan(texts[i].ids).first(texts[i].ids.size() - 1));
  }
  std::vector<AnswerBatch> batches;
  for (const auto& [begin, end] : by_prompt ? micro_batches_by_prompt(answers, max_tokens)
                                            : micro_batches(contexts, max_tokens)) {
    const auto chosen = std::span(answers).subspan(begin, end - begin);
    batches.push_back({.text_of = {scored.begin() + begin, scored.begin() + end},
                       .answers = by_prompt ? pack_by_prompt(chosen) : pack_answers(chosen)});
  }
  return batches;
}

// Rows that are named on the CPU, wherever the states are.
at::Tensor states_of(const at::Tensor& hidden, const at::Tensor& rows) {
  return hidden.index_select(0, on_device(rows, hidden.device()));
}

std::vector<double> to_doubles(const at::Tensor& tensor) {
  const at::Tensor plain = tensor.to(at::kCPU, at::kDouble).contiguous();
  const double* data = plain.const_data_ptr<double>();
  return {data, data + plain.numel()};
}

// Hands out a batch's numbers, row after row, to its texts' `member`.
template <class Result>
void distribute(const at::Tensor& numbers, const AnswerBatch& batch,
                std::span<const ScoredText> texts, const Result& result) {
  const std::vector<double> all = to_doubles(numbers);
  auto next = all.begin();
  for (const size_t text : batch.text_of) {
    const int64_t count = length(texts[text].ids) - texts[text].answer_begin;
    result(text).assign(next, next + count);
    next += count;
  }
}

using Batches = std::vector<std::pair<int64_t, int64_t>>;

// Rows of a text where it is the first of its batch, and behind its neighbour.
struct TextRows {
  int64_t first = 0;
  int64_t next = 0;
};

// Each batch takes what still fits.
Batches filled_batches(std::span<const TextRows> texts, int64_t max_tokens) {
  Batches batches;
  int64_t tokens = 0;
  for (int64_t i = 0; i < std::ssize(texts); ++i) {
    const TextRows& added = texts[static_cast<size_t>(i)];
    const bool begins = batches.empty() || added.next > max_tokens - tokens;
    if (begins) {
      batches.emplace_back(i, i);
      tokens = 0;
    }
    batches.back().second = i + 1;
    tokens += begins ? added.first : added.next;
  }
  return batches;
}

Batches even_batches(std::span<const TextRows> texts, int64_t max_tokens) {
  Batches batches = filled_batches(texts, max_tokens);
  // The least limit that needs no more batches spreads the tokens most evenly.
  int64_t too_low = 0, enough = max_tokens;
  while (enough - too_low > 1) {
    const int64_t limit = too_low + (enough - too_low) / 2;
    Batches tighter = filled_batches(texts, limit);
    if (tighter.size() > batches.size()) {
      too_low = limit;
    } else {
      enough = limit;
      batches = std::move(tighter);
    }
  }
  return batches;
}

}  // namespace

std::vector<std::pair<int64_t, int64_t>> micro_batches(std::span<const int64_t> lengths,
                                                       int64_t max_tokens) {
  std::vector<TextRows> texts;
  for (const int64_t length : lengths) texts.push_back({.first = length, .next = length});
  return even_batches(texts, max_tokens);
}

std::vector<std::pair<int64_t, int64_t>> micro_batches_by_prompt(std::span<const AnswerText> texts,
                                                                 int64_t max_tokens) {
  std::vector<TextRows> rows;
  for (const TextGroup& group : prompt_groups(texts)) {
    for (int64_t i = 0; i < group.num_texts; ++i) {
      const int64_t length = std::ssize(texts[rows.size()].ids) - 1;
      rows.push_back({.first = length, .next = i > 0 ? length - group.shared : length});
    }
  }
  return even_batches(rows, max_tokens);
}

std::vector<std::pair<int64_t, int64_t>> micro_batches(std::span<const TokenSpan> texts,
                                                       int64_t max_tokens) {
  const int64_t shared = shared_prefix(texts);
  std::vector<int64_t> lengths;
  for (const TokenSpan text : texts) lengths.push_back(std::ssize(text) - shared);
  return micro_batches(lengths, std::max<int64_t>(max_tokens - shared, 1));
}

std::vector<TextScores> score_texts(const Decoder& decoder, const Adapter* adapter,
                                    std::span<const ScoredText> texts,
                                    const ScoringOptions& options) {
  const at::NoGradGuard no_grad;
  std::vector<TextScores> scores(texts.size());
  for (const AnswerBatch& batch :
       answer_batches(texts, decoder.config(), options.micro_batch_tokens, options.by_prompt)) {
    const at::Tensor hidden =
        states_of(decoder.forward(batch.tokens(), adapter), batch.answers.rows);
    const auto answers =
        decoder.token_scores(hidden, batch.answers.targets, options.temperature, adapter);
    distribute(
        answers.logprobs, batch, texts, [&](size_t i) -> auto& { return scores[i].logprobs; });
    distribute(
        answers.entropies, batch, texts, [&](size_t i) -> auto& { return scores[i].entropies; });
    if (options.value_head == nullptr) continue;
    distribute((*options.value_head)(hidden), batch,
               texts, [&](size_t i) -> auto& { return scores[i].values; });
  }
  return scores;
}

std::vector<std::vector<double>> exact_kl_texts(const Decoder& decoder, const Adapter* policy,
                                                const Adapter* reference,
                                                std::span<const ScoredText> texts,
                                                const ScoringOptions& options) {
  const at::NoGradGuard no_grad;
  std::vector<std::vector<double>> kl(texts.size());
  // Each text stands twice in a forward: for the policy, then for the reference.
  for (const AnswerBatch& batch : answer_batches(
           texts, decoder.config(), std::max<int64_t>(1, options.micro_batch_tokens / 2))) {
    AdapterRows rows;
    rows.ranges = {{policy, batch.num_tokens()}, {reference, batch.num_tokens()}};
    const at::Tensor hidden = decoder.forward(packed_twice(batch.tokens()), rows);
    distribute(
        decoder.exact_kl(states_of(hidden, batch.answers.rows), policy,
                         states_of(hidden, batch.answers.rows.add(batch.num_tokens())), reference,
                         options.temperature),
        batch, texts, [&](size_t i) -> auto& { return kl[i]; });
  }
  return kl;
}

std::vector<std::vector<double>> exact_kl_texts(const Decoder& decoder, const Adapter* policy,
                                                const Decoder& reference_decoder,
                                                const Adapter* reference,
                                                std::span<const ScoredText> texts,
                                                const ScoringOptions& options) {
  if (&decoder == &reference_decoder) {
    return exact_kl_texts(decoder, policy, reference, texts, options);
  }
  const at::NoGradGuard no_grad;
  std::vector<std::vector<double>> kl(texts.size());
  for (const AnswerBatch& batch :
       answer_batches(texts, decoder.config(), options.micro_batch_tokens)) {
    const PackedTokens& tokens = batch.tokens();
    distribute(
        decoder.exact_kl(
            states_of(decoder.forward(tokens, policy), batch.answers.rows), policy,
            reference_decoder,
            states_of(reference_decoder.forward(tokens, reference), batch.answers.rows), reference,
            options.temperature),
        batch, texts, [&](size_t i) -> auto& { return kl[i]; });
  }
  return kl;
}

std::vector<std::vector<double>> value_texts(const Decoder& decoder, const Adapter* adapter,
                                             const LinearHead& head,
                                             std::span<const ScoredText> texts,
                                             int64_t micro_batch_tokens,
                                             std::vector<at::Tensor>* states) {
  const at::NoGradGuard no_grad;
  std::vector<std::vector<double>> values(texts.size());
  if (states != nullptr) states->assign(texts.size(), {});
  for (const AnswerBatch& batch : answer_batches(texts, decoder.config(), micro_batch_tokens)) {
    const at::Tensor hidden =
        states_of(decoder.forward(batch.tokens(), adapter), batch.answers.rows);
    distribute(
        head(hidden), batch, texts, [&](size_t i) -> auto& { return values[i]; });
    if (states == nullptr) continue;
    int64_t row = 0;
    for (const size_t text : batch.text_of) {
      const int64_t count = length(texts[text].ids) - texts[text].answer_begin;
      (*states)[text] = hidden.narrow(0, row, count);
      row += count;
    }
  }
  return values;
}

at::Tensor score_sequences(const Decoder& decoder, const Adapter* adapter, const LinearHead& head,
                           std::span<const std::vector<int64_t>> sequences,
                           int64_t micro_batch_tokens) {
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < sequences.size(); ++i) {
    check_ids(sequences[i], decoder.config(), fmt::format("text {}", i));
  }
  const std::vector<TokenSpan> texts(sequences.begin(), sequences.end());
  std::vector<at::Tensor> scores;
  for (const auto& [begin, end] : micro_batches(texts, micro_batch_tokens)) {
    const auto count = static_cast<size_t>(end - begin);
    const PackedTexts packed =
        pack_shared(std::span(texts).subspan(static_cast<size_t>(begin), count));
    std::vector<int64_t> last;
    for (int64_t i = 0; i < end - begin; ++i) last.push_back(packed.last_row(i));
    const at::Tensor hidden = decoder.forward(packed.tokens, adapter);
    scores.push_back(head(states_of(hidden, at::tensor(last))).to(at::kCPU, at::kFloat));
  }
  return scores.empty() ? at::empty({0, head.weight.size(0)}, at::kFloat) : at::cat(scores);
}

}  // namespace leash
