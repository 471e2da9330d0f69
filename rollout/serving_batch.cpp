// Every sequence is read from where its slot's rows end: a step is a pass over the next token of
// some and over the next piece of a prompt of others. Who has read all gets a token drawn.
#include "rollout/serving_batch.h"

#include <ATen/Parallel.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "models/decoder/packed_texts.h"
#include "models/device/device.h"
#include "rollout/token_scores.h"

namespace leash {
namespace {

constexpr int64_t kScoredRows = 128;  // whose logits are there at once

// Rows of one adapter after another.
AdapterRows ranges_of(const std::vector<std::pair<const Adapter*, int64_t>>& rows) {
  AdapterRows result;
  for (const auto& [adapter, count] : rows) {
    if (!result.ranges.empty() && result.ranges.back().adapter == adapter) {
      result.ranges.back().num_rows += count;
    } else {
      result.ranges.push_back({.adapter = adapter, .num_rows = count});
    }
  }
  return result;
}

ScoredToken draw_one(const ServingSequence& sequence, const at::Tensor& logits /* [1, vocab] */) {
  const GenerationConfig& config = sequence.request.generation;
  const auto drawn = static_cast<uint64_t>(sequence.ids.size() - sequence.request.ids.size());
  const double uniform =
      draw_uniform({config.seed, config.purpose, config.step, sequence.request.sample, drawn});
  const std::span<const int64_t> history = sequence.ids;
  std::span<const int64_t> forbidden;
  if (static_cast<int64_t>(drawn) + 1 < config.min_new_tokens) forbidden = sequence.ending;
  const int64_t token =
      sample_tokens(logits, config.sampling, {&uniform, 1}, {&history, 1}, {&forbidden, 1})
          .front()
          .token;
  if (!sequence.request.token_scores) return {.token = token, .logprob = 0, .top = {}};
  return score_rows(logits, {&token, 1}, sequence.request.num_top).front();
}

}  // namespace

ServingSequence::ServingSequence(ServingRequest given, size_t index_in_ticket,
                                 std::shared_ptr<ServingTicket> of, const Tokenizer* tokenizer,
                                 int64_t most)
    : request(std::move(given)),
      index(index_in_ticket),
      ticket(std::move(of)),
      ids(request.ids),
      ending(ending_tokens(request.generation, tokenizer)),
      stop(request.generation, tokenizer, most - std::ssize(request.ids)),
      context(most) {}

int64_t ServingSequence::rows_needed() const {
  return std::ssize(ids) - (request.generation.max_new_tokens == 0 ? 1 : 0);
}

std::span<const int64_t> ServingSequence::reusable() const {
  if (request.prompt_scores) return {};
  return std::span(request.ids).first(request.ids.size() - 1);  // the last one's state is needed
}

ServingBatch::ServingBatch(const Decoder& decoder, const Tokenizer* tokenizer,
                           const ServingConfig& config, ServingCounts& counts)
    : decoder_(decoder),
      tokenizer_(tokenizer),
      config_(config),
      counts_(counts),
      memory_(decoder, config.max_batch, config.context) {}

bool ServingBatch::waits_for_rows(const ServingSequence& sequence) const {
  const auto reusable = sequence.reusable();
  for (const auto& other : active_) {
    if (other->request.adapter != sequence.request.adapter || other->pending() <= 1) continue;
    const auto [end, unused] = std::ranges::mismatch(other->request.ids, reusable);
    const int64_t shared = end - other->request.ids.begin();
    if (shared >= kLeastSharedTokens && shared > other->read) return true;
  }
  return false;
}

void ServingBatch::admit(std::list<std::unique_ptr<ServingSequence>>& waiting) {
  for (auto next = waiting.begin(); next != waiting.end() && memory_.any_free();) {
    ServingSequence& sequence = **next;
    if (!sequence.ticket->cancelled() && waits_for_rows(sequence)) {
      ++next;
      continue;
    }
    std::unique_ptr<ServingSequence> entering = std::move(*next);
    next = waiting.erase(next);
    if (entering->ticket->cancelled()) continue;
    try {
      const int64_t most =
          std::min(entering->context,
                   std::ssize(entering->ids) +
                       std::max<int64_t>(entering->request.generation.max_new_tokens - 1, 0));
      const auto place = memory_.acquire(entering->reusable(), entering->request.adapter, most);
      entering->slot = place->slot;
      entering->read = place->reused;
      counts_.reused_tokens += place->reused;
    } catch (...) {  // no memory for so long a text: the others go on
      entering->ticket->fail(std::current_exception());
      continue;
    }
    active_.push_back(std::move(entering));
  }
  counts_.active = std::ssize(active_);
}

// Even shares: the shortest first, since what it does not need is the others'.
std::vector<ServingBatch::Part> ServingBatch::prefill_parts() const {
  std::vector<Part> parts;
  for (const auto& sequence : active_) {
    if (sequence->pending() > 1) parts.push_back({.sequence = sequence.get(), .rows = 0});
  }
  std::ranges::stable_sort(parts, {}, [](const Part& part) { return part.sequence->pending(); });
  int64_t left = config_.prefill_tokens, sharing = std::ssize(parts);
  for (Part& part : parts) {
    part.rows = std::min(part.sequence->pending(), std::max<int64_t>(left / sharing--, 1));
    left -= part.rows;
  }
  return parts;
}

void ServingBatch::step() {
  for (const auto& sequence : active_) {
    if (sequence->ticket->cancelled()) sequence->finished = true;
  }
  retire();
  std::vector<Part> prefill = prefill_parts(), decode;
  for (const auto& sequence : active_) {
    if (sequence->pending() == 1) decode.push_back({.sequence = sequence.get(), .rows = 1});
    if (sequence->pending() == 0) {  // a prompt of one token and nothing to draw
      sequence->finished = true;
      sequence->ticket->add({.request = sequence->index, .stop = StopReason::length});
    }
  }
  if (!decode.empty()) pass(std::move(decode));
  if (!prefill.empty()) pass(std::move(prefill));
  retire();
  ++counts_.steps;
}

void ServingBatch::pass(std::vector<Part> parts) {
  std::ranges::stable_sort(parts, std::less<>(),
                           [](const Part& part) { return part.sequence->request.adapter; });
  std::vector<int64_t> ids, positions, slots, last;
  std::vector<std::pair<const Adapter*, int64_t>> adapters, ready_adapters;
  PackedTokens tokens;
  Sequences ready;
  for (const auto& [sequence, rows] : parts) {
    const auto begin = sequence->ids.begin() + sequence->read;
    ids.insert(ids.end(), begin, begin + rows);
    for (int64_t i = 0; i < rows; ++i) positions.push_back(sequence->read + i);
    slots.push_back(sequence->slot);
    tokens.lengths.push_back(rows);
    adapters.emplace_back(sequence->request.adapter, rows);
    if (rows < sequence->pending()) continue;
    ready.push_back(sequence);
    ready_adapters.emplace_back(sequence->request.adapter, 1);
    last.push_back(std::ssize(ids) - 1);
  }
  tokens.ids = at::tensor(ids, at::kLong);
  tokens.positions = at::tensor(positions, at::kLong);
  memory_.cache().select(std::move(slots));
  const at::Tensor hidden =
      decoder_.forward(tokens, ranges_of(adapters), {.cache = &memory_.cache()});
  memory_.cache().commit(tokens.lengths);
  int64_t row = 0;
  for (const auto& [sequence, rows] : parts) {
    const int64_t first = sequence->read;
    memory_.append(
        sequence->slot,
        std::span(sequence->ids).subspan(static_cast<size_t>(first), static_cast<size_t>(rows)));
    sequence->read += rows;
    if (first < std::ssize(sequence->request.ids)) counts_.prompt_tokens += rows;
    if (sequence->request.prompt_scores)
      score_prompt(*sequence, first, hidden.narrow(0, row, rows));
    row += rows;
  }
  if (ready.empty()) return;
  const at::Tensor rows = on_device(at::tensor(last, at::kLong), hidden.device());
  draw(ready, hidden.index_select(0, rows), ranges_of(ready_adapters));
}

// Row r predicts the token at first + r + 1.
void ServingBatch::score_prompt(ServingSequence& sequence, int64_t first,
                                const at::Tensor& hidden /* [rows, hidden] */) {
  const auto& ids = sequence.request.ids;
  const int64_t scored = std::min(hidden.size(0), std::ssize(ids) - 1 - first);
  for (int64_t begin = 0; begin < scored; begin += kScoredRows) {
    const int64_t count = std::min(kScoredRows, scored - begin);
    const at::Tensor logits =
        decoder_.logits(hidden.narrow(0, begin, count), sequence.request.adapter);
    const auto targets =
        std::span(ids).subspan(static_cast<size_t>(first + begin + 1), static_cast<size_t>(count));
    sequence.ticket->add(
        {.request = sequence.index,
         .prompt = score_rows(logits.to(at::kCPU, at::kFloat), targets, sequence.request.num_top)});
  }
}

void ServingBatch::draw(const Sequences& sequences, const at::Tensor& hidden /* [rows, hidden] */,
                        const AdapterRows& adapters) {
  const auto draws = [](const ServingSequence* s) {
    return s->request.generation.max_new_tokens > 0;
  };
  at::Tensor logits;  // [rows, vocab]
  if (std::ranges::any_of(sequences, draws)) {
    logits = decoder_.logits(hidden, adapters).to(at::kCPU, at::kFloat);
  }
  std::vector<ScoredToken> tokens(sequences.size());
  std::vector<std::exception_ptr> errors(sequences.size());
  at::parallel_for(0, std::ssize(sequences), 1, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      if (!draws(sequences[i])) continue;
      try {
        tokens[i] = draw_one(*sequences[i], logits.narrow(0, static_cast<int64_t>(i), 1));
      } catch (...) {  // an adapter that gives NaN ends its own answers alone
        errors[i] = std::current_exception();
      }
    }
  });
  for (size_t i = 0; i < sequences.size(); ++i) {
    ServingSequence& sequence = *sequences[i];
    if (errors[i]) {
      sequence.finished = true;
      sequence.ticket->fail(errors[i]);
    } else if (draws(&sequence)) {
      add(sequence, std::move(tokens[i]));
    } else {
      sequence.finished = true;
      sequence.ticket->add({.request = sequence.index, .stop = StopReason::length});
    }
  }
}

void ServingBatch::add(ServingSequence& sequence, ScoredToken token) {
  ++counts_.generated_tokens;
  sequence.ids.push_back(token.token);
  ServingEvent event{.request = sequence.index};
  event.stop = sequence.stop.push(token.token);
  event.token = std::move(token);
  if (event.stop) {
    event.text = sequence.stop.finish();
    sequence.finished = true;
  }
  sequence.ticket->add(std::move(event));
}

void ServingBatch::retire() {
  for (const auto& sequence : active_) {
    if (sequence->finished) memory_.release(sequence->slot);
  }
  std::erase_if(active_, [](const auto& sequence) { return sequence->finished; });
  counts_.active = std::ssize(active_);
}

void ServingBatch::fail(const std::exception_ptr& error) {
  for (const auto& sequence : active_) {
    sequence->finished = true;
    sequence->ticket->fail(error);
  }
  retire();
}

}  // namespace leash
