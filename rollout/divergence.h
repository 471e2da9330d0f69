// How two adapters over one decoder differ at every state of given texts: exact divergences over
// the vocabulary, and which tokens gained and lost probability.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "models/decoder/decoder.h"
#include "rollout/scoring.h"

namespace leash {

// Entry j belongs to token answer_begin + j. p: the policy, q: the reference, at temperature 1;
// nats.
struct TextDivergence {
  std::vector<double> kl;          // Σ p log(p / q)
  std::vector<double> reverse_kl;  // Σ q log(q / p)
  std::vector<double> js;          // ½ KL(p ‖ m) + ½ KL(q ‖ m), m = (p + q) / 2; ≤ log 2
  std::vector<double> entropy;     // of p
  std::vector<double> reference_entropy;  // of q
  std::vector<double> same_top;           // 1 where both like one token most, else 0
  std::vector<double> logprobs;           // log p of the token that stands there
  std::vector<double> reference_logprobs;
  // The token that gained most probability at this state (p - q) and the one that lost most.
  std::vector<int64_t> gained, lost;
  std::vector<double> gained_by, lost_by;  // p - q of each; ≥ 0 and ≤ 0
};

// By id: probability summed over all states.
struct VocabularyMass {
  std::vector<double> policy, reference;
};

struct Divergences {
  std::vector<TextDivergence> texts;
  VocabularyMass mass;
};

// Of given logits, a row for each state: adds a row's numbers to `into`, and its probabilities to
// `mass`, whose tensors are [vocab] in double.
struct MassTensors {
  at::Tensor policy, reference;
};
void add_divergences(const at::Tensor& policy_logits /* [rows, vocab] */,
                     const at::Tensor& reference_logits /* [rows, vocab] */,
                     const at::Tensor& targets /* [rows] int64 */, TextDivergence& into,
                     MassTensors& mass);

// In double from the logits on. `progress` hears how many texts are done.
Divergences divergence_texts(const Decoder& decoder, const Adapter* policy,
                             const Adapter* reference, std::span<const ScoredText> texts,
                             const ScoringOptions& options = {},
                             const std::function<void(int64_t)>& progress = {});

}  // namespace leash
