// What a network says about given texts: log-probs, entropies, values, scores, exact KL.
// Micro-batches of whole sequences, packed.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "models/decoder/decoder.h"
#include "models/decoder/heads.h"
#include "models/decoder/packed_texts.h"

namespace leash {

// A sequence, and where its answer starts: tokens before `answer_begin` are only context.
struct ScoredText {
  std::vector<int64_t> ids;
  int64_t answer_begin = 1;  // ≥ 1: the first token of a text has no log-prob
};

// Entry j belongs to token answer_begin + j.
struct TextScores {
  std::vector<double> logprobs;   // nats
  std::vector<double> entropies;  // nats, of the distribution that the token was drawn from
  std::vector<double> values;     // of the state before the token, when a value head was given
};

struct ScoringOptions {
  double temperature = 1.0;
  int64_t micro_batch_tokens = 4096;  // rows of one forward (a longer text runs alone)
  const LinearHead* value_head = nullptr;
  bool by_prompt = false;  // neighbours with one prompt share it, instead of what all begin with
};

// Groups of consecutive indices whose lengths sum to at most `max_tokens` (a longer one stands
// alone): as few as filling one after another gives, their largest sum as small as it can be. A
// pure function of lengths.
std::vector<std::pair<int64_t, int64_t>> micro_batches(std::span<const int64_t> lengths,
                                                       int64_t max_tokens);
// The same for texts that are packed by pack_shared: their shared prefix counts once.
std::vector<std::pair<int64_t, int64_t>> micro_batches(std::span<const TokenSpan> texts,
                                                       int64_t max_tokens);

// The same for texts that are packed by pack_by_prompt: a prompt that neighbours share counts once.
std::vector<std::pair<int64_t, int64_t>> micro_batches_by_prompt(std::span<const AnswerText> texts,
                                                                 int64_t max_tokens);

// Log-probs (and values) of the answers, without gradients.
std::vector<TextScores> score_texts(const Decoder& decoder, const Adapter* adapter,
                                    std::span<const ScoredText> texts,
                                    const ScoringOptions& options = {});

// Values alone, of the states before the answers' tokens; no logits are computed. `states` gets
// those states, per text [answer tokens, hidden] (undefined: no answer), in the decoder's type and
// on its device.
std::vector<std::vector<double>> value_texts(const Decoder& decoder, const Adapter* adapter,
                                             const LinearHead& head,
                                             std::span<const ScoredText> texts,
                                             int64_t micro_batch_tokens = 4096,
                                             std::vector<at::Tensor>* states = nullptr);

// Exact KL(policy ‖ reference) in nats at each answer position, at `options.temperature`. Both
// share one base product.
std::vector<std::vector<double>> exact_kl_texts(const Decoder& decoder, const Adapter* policy,
                                                const Adapter* reference,
                                                std::span<const ScoredText> texts,
                                                const ScoringOptions& options = {});
// The same against a reference that may be another model over the same vocabulary.
std::vector<std::vector<double>> exact_kl_texts(const Decoder& decoder, const Adapter* policy,
                                                const Decoder& reference_decoder,
                                                const Adapter* reference,
                                                std::span<const ScoredText> texts,
                                                const ScoringOptions& options = {});

// A sequence-classification score of each whole sequence, read at its last token. [texts, outputs]
// fp32 on the CPU
at::Tensor score_sequences(const Decoder& decoder, const Adapter* adapter, const LinearHead& head,
                           std::span<const std::vector<int64_t>> sequences,
                           int64_t micro_batch_tokens = 4096);

}  // namespace leash
