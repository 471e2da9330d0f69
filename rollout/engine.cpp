// Waiting prompts enter free slots and are prefilled together, packed; then every active sequence
// gets one token a step. Who enters when is a pure function of configuration, seed and lengths.
#include "rollout/engine.h"

#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>

#include "models/decoder/packed_texts.h"
#include "models/errors.h"
#include "rollout/decode_step.h"
#include "rollout/inputs.h"
#include "rollout/kv_cache.h"
#include "rollout/scoring.h"
#include "rollout/stopping.h"

namespace leash {
namespace {

constexpr int64_t kPrefillTokens = 2048;  // rows of one prefill: bounds its memory

// One prompt on its way through the engine.
struct Sequence {
  int64_t index = 0;  // of the prompt
  const Prompt* prompt = nullptr;
  int64_t slot = 0;
  at::Tensor prompt_hidden;  // [hidden], of the prompt's last token
  std::vector<int64_t> ids;  // prompt and answer
  StopCheck stop;
  Completion completion;
  bool finished = false;

  int64_t num_drawn() const { return static_cast<int64_t>(completion.token_ids.size()); }
};

// One call of generate().
class Generation {
 public:
  Generation(const Decoder& decoder, const Tokenizer* tokenizer, const std::vector<Prompt>& prompts,
             const Adapter* adapter, const GenerationConfig& config, const LinearHead* value_head,
             const RolloutEngine::Callbacks& callbacks)
      : decoder_(decoder),
        tokenizer_(tokenizer),
        prompts_(prompts),
        adapter_(adapter),
        config_(config),
        value_head_(value_head),
        callbacks_(callbacks),
        ending_tokens_(ending_tokens(config, tokenizer)),
        shared_(prefix_of(prompts)),
        cache_(decoder.config(),
               std::min<int64_t>(config.max_batch, std::ssize(prompts)) + (shared_ > 0 ? 1 : 0),
               capacity(), decoder.dtype(), decoder.device()),
        completions_(prompts.size()) {
    if (!decoder.device().is_cpu()) step_.emplace(decoder, adapter, cache_, config.record_steps);
  }

  std::vector<Completion> run() {
    if (shared_ > 0) read_prefix();
    while (next_ < std::ssize(prompts_) || !active_.empty()) {
      admit();
      if (!active_.empty()) decode();
    }
    return std::move(completions_);
  }

 private:
  int64_t room(const Prompt& prompt) const {
    return decoder_.config().max_positions - std::ssize(prompt.ids);
  }
  // The last token of an answer is never read, so it needs no row.
  int64_t capacity() const {
    int64_t rows = 1;
    for (const Prompt& prompt : prompts_) {
      const int64_t answer = std::min(config_.max_new_tokens, room(prompt));
      rows = std::max<int64_t>(rows, std::ssize(prompt.ids) + answer - 1);
    }
    return rows;
  }

  static int64_t prefix_of(const std::vector<Prompt>& prompts) {
    std::vector<TokenSpan> texts;
    for (const Prompt& prompt : prompts) texts.emplace_back(prompt.ids);
    return shared_prefix(texts);
  }

  // The prefix of all prompts (a chat template's system message) is read once, into a slot of its
  // own.
  void read_prefix() {
    prefix_slot_ = cache_.acquire().value();
    const auto& ids = prompts_.front().ids;
    forward(pack_one({ids.begin(), ids.begin() + shared_}), {prefix_slot_});
  }

  // Fills free slots with waiting prompts and draws the first token of each.
  void admit() {
    std::vector<std::shared_ptr<Sequence>> entering, fresh;
    while (next_ < std::ssize(prompts_)) {
      const std::optional<int64_t> slot = cache_.acquire();
      if (!slot) break;
      entering.push_back(start(next_++, *slot));
      if (source_of(*entering.back(), entering) == nullptr) fresh.push_back(entering.back());
    }
    if (entering.empty()) return;
    prefill(fresh);
    for (const auto& sequence : entering) {
      if (sequence->prompt_hidden.defined()) continue;
      const Sequence* source = source_of(*sequence, entering);
      cache_.copy_prefix(source->slot, sequence->slot, std::ssize(sequence->prompt->ids));
      sequence->prompt_hidden = source->prompt_hidden;
    }
    std::vector<at::Tensor> hidden;
    for (const auto& sequence : entering) hidden.push_back(sequence->prompt_hidden);
    const at::Tensor rows = at::stack(hidden);
    draw(entering, rows, decoder_.logits(rows, adapter_));
    active_.insert(active_.end(), entering.begin(), entering.end());
    retire();
  }

  std::shared_ptr<Sequence> start(int64_t index, int64_t slot) const {
    const Prompt& prompt = prompts_[static_cast<size_t>(index)];
    auto sequence = std::make_shared<Sequence>(Sequence{
        .index = index,
        .prompt = &prompt,
        .slot = slot,
        .prompt_hidden = {},
        .ids = prompt.ids,
        .stop = StopCheck(config_, tokenizer_, room(prompt)),
        .completion = {},
    });
    sequence->completion.sample = prompt.sample;
    sequence->completion.prompt_ids = prompt.ids;
    return sequence;
  }

  // An active sequence, or one that enters before, with the same prompt: its rows are copied.
  const Sequence* source_of(const Sequence& sequence,
                            const std::vector<std::shared_ptr<Sequence>>& entering) const {
    for (const auto* sequences : {&active_, &entering}) {
      for (const auto& other : *sequences) {
        if (other.get() == &sequence) return nullptr;
        if (other->prompt->ids == sequence.prompt->ids) return other.get();
      }
    }
    return nullptr;
  }

  void prefill(const std::vector<std::shared_ptr<Sequence>>& fresh) {
    std::vector<int64_t> lengths;
    for (const auto& sequence : fresh) lengths.push_back(std::ssize(sequence->ids) - shared_);
    for (const auto& [begin, end] : micro_batches(lengths, kPrefillTokens)) {
      std::vector<std::vector<int64_t>> ids;
      std::vector<int64_t> slots;
      for (int64_t i = begin; i < end; ++i) {
        const Sequence& sequence = *fresh[static_cast<size_t>(i)];
        if (shared_ > 0) cache_.copy_prefix(prefix_slot_, sequence.slot, shared_);
        ids.emplace_back(sequence.ids.begin() + shared_, sequence.ids.end());
        slots.push_back(sequence.slot);
      }
      PackedTokens tokens = pack(ids);
      tokens.positions.add_(shared_);
      const at::Tensor hidden = forward(tokens, std::move(slots));
      int64_t last = -1;
      for (int64_t i = begin; i < end; ++i) {
        last += lengths[static_cast<size_t>(i)];
        fresh[static_cast<size_t>(i)]->prompt_hidden = hidden.select(0, last).clone();
      }
    }
  }

  // One token for each active sequence.
  void decode() {
    std::vector<int64_t> ids, positions, slots;
    for (const auto& sequence : active_) {
      ids.push_back(sequence->ids.back());
      positions.push_back(std::ssize(sequence->ids) - 1);
      slots.push_back(sequence->slot);
    }
    if (step_) {
      const DecodeStep::Rows rows = step_->run(ids, slots);
      draw(active_, rows.hidden, rows.logits);
    } else {
      PackedTokens tokens;
      tokens.ids = at::tensor(ids, at::kLong);
      tokens.positions = at::tensor(positions, at::kLong);
      tokens.lengths.assign(active_.size(), 1);
      const at::Tensor hidden = forward(tokens, std::move(slots));
      draw(active_, hidden, decoder_.logits(hidden, adapter_));
    }
    retire();
  }

  at::Tensor forward(const PackedTokens& tokens, std::vector<int64_t> slots) {
    cache_.select(std::move(slots));
    at::Tensor hidden = decoder_.forward(tokens, adapter_, {.cache = &cache_});
    cache_.commit(tokens.lengths);
    return hidden;
  }

  // Draws the next token of each sequence from its row.
  void draw(const std::vector<std::shared_ptr<Sequence>>& sequences,
            const at::Tensor& hidden /* [sequences, hidden] */,
            const at::Tensor& logits /* [sequences, vocab] */) {
    std::vector<double> uniforms;
    std::vector<std::span<const int64_t>> histories, forbidden;
    for (const auto& sequence : sequences) {
      const uint64_t place = static_cast<uint64_t>(sequence->num_drawn());
      uniforms.push_back(draw_uniform(
          {config_.seed, config_.purpose, config_.step, sequence->prompt->sample, place}));
      histories.emplace_back(sequence->ids);
      const bool may_end = sequence->num_drawn() + 1 >= config_.min_new_tokens;
      forbidden.push_back(may_end ? std::span<const int64_t>{} : ending_tokens_);
    }
    const auto tokens =
        draw_tokens(logits.to(at::kFloat), config_.sampling, uniforms, histories, forbidden);
    at::Tensor values;
    if (value_head_ != nullptr) values = (*value_head_)(hidden).to(at::kCPU, at::kDouble);
    for (size_t i = 0; i < sequences.size(); ++i) {
      if (value_head_ != nullptr) {
        sequences[i]->completion.values.push_back(values.const_data_ptr<double>()[i]);
      }
      add(*sequences[i], tokens[i]);
    }
  }

  void add(Sequence& sequence, const SampledToken& drawn) const {
    sequence.ids.push_back(drawn.token);
    Completion& completion = sequence.completion;
    completion.token_ids.push_back(drawn.token);
    completion.logprobs.push_back(drawn.logprob);
    completion.behaviour_logprobs.push_back(drawn.behaviour_logprob);
    completion.entropies.push_back(drawn.entropy);
    std::optional<StopReason> stop = sequence.stop.push(drawn.token);
    if (callbacks_.on_token && !callbacks_.on_token(sequence.index, drawn.token) && !stop) {
      stop = StopReason::length;
    }
    if (!stop) return;
    completion.stop = *stop;
    completion.text = sequence.stop.finish();
    sequence.finished = true;
  }

  // Finished sequences leave, in the order in which they entered.
  void retire() {
    for (const auto& sequence : active_) {
      if (!sequence->finished) continue;
      cache_.release(sequence->slot);
      Completion& done = completions_[static_cast<size_t>(sequence->index)];
      done = std::move(sequence->completion);
      if (callbacks_.on_finished) callbacks_.on_finished(done);
    }
    std::erase_if(active_, [](const auto& sequence) { return sequence->finished; });
  }

  const Decoder& decoder_;
  const Tokenizer* tokenizer_;
  const std::vector<Prompt>& prompts_;
  const Adapter* adapter_;
  const GenerationConfig& config_;
  const LinearHead* value_head_;
  const RolloutEngine::Callbacks& callbacks_;
  std::vector<int64_t> ending_tokens_;
  int64_t shared_;            // tokens of the prefix of all prompts, or 0
  int64_t prefix_slot_ = -1;  // of the cache, which holds them
  KvCache cache_;
  std::optional<DecodeStep> step_;  // on a device
  std::vector<Completion> completions_;
  std::vector<std::shared_ptr<Sequence>> active_;
  int64_t next_ = 0;  // the first prompt that still waits
};

void check_request(const std::vector<Prompt>& prompts, const GenerationConfig& config,
                   const DecoderConfig& model, const LinearHead* value_head) {
  TORCH_CHECK(config.max_new_tokens >= 1, "max_new_tokens is ", config.max_new_tokens);
  TORCH_CHECK(config.max_batch >= 1, "max_batch is ", config.max_batch);
  TORCH_CHECK(value_head == nullptr || value_head->weight.size(0) == 1,
              "a value head has one output");
  for (size_t i = 0; i < prompts.size(); ++i) {
    const std::string name = fmt::format("prompt {} (sample {})", i, prompts[i].sample);
    check_ids(prompts[i].ids, model, name);
    if (std::ssize(prompts[i].ids) < model.max_positions) continue;
    throw FormatError(
        fmt::format("{} has {} tokens, which leaves no room for an answer in the "
                    "model's context of {}: shorten it",
                    name, prompts[i].ids.size(), model.max_positions));
  }
}

}  // namespace

RolloutEngine::RolloutEngine(std::shared_ptr<const Decoder> decoder,
                             std::optional<Tokenizer> tokenizer)
    : decoder_(std::move(decoder)), tokenizer_(std::move(tokenizer)) {}

RolloutEngine::~RolloutEngine() = default;

std::vector<Completion> RolloutEngine::generate(const std::vector<Prompt>& prompts,
                                                const Adapter* adapter,
                                                const GenerationConfig& config,
                                                const LinearHead* value_head,
                                                const Callbacks& callbacks) const {
  const at::NoGradGuard no_grad;
  check_request(prompts, config, decoder_->config(), value_head);
  TORCH_CHECK(tokenizer_ || config.stop_texts.empty(), "stop texts need a tokenizer");
  if (prompts.empty()) return {};
  const Tokenizer* tokenizer = tokenizer_ ? &*tokenizer_ : nullptr;
  const RecordableStream stream(decoder_->device());
  return Generation(*decoder_, tokenizer, prompts, adapter, config, value_head, callbacks).run();
}

}  // namespace leash
