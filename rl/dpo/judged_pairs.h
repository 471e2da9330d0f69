// Pairs of answers as texts whose log-probs are asked for, packed.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "rl/data/preferences.h"
#include "rl/preference/answer_logprobs.h"

namespace leash {

// A pair, and its log-probs under the reference where they are known (precompute_ref_log_probs).
struct JudgedPair {
  const PreferencePair* pair = nullptr;
  struct Known {
    double chosen = 0;
    double rejected = 0;
  };
  std::optional<Known> reference = {};
};
using JudgedPairs = std::span<const JudgedPair>;
std::vector<JudgedPair> judged_pairs(const std::vector<PreferencePair>& pairs);

// Chosen and rejected of each pair, in this order; what both begin with stands once in the batch.
std::vector<AnswerText> answer_texts(JudgedPairs pairs);
JudgedBatch pack_pairs_of_answers(JudgedPairs pairs, const std::optional<double>& ld_alpha);

// Tokens of an answer that something predicts: all but a text's first one.
int64_t chosen_scored(const PreferencePair& pair);
int64_t rejected_scored(const PreferencePair& pair);

// Rows of each pair that go through the decoder: a text's last token is only ever predicted.
std::vector<int64_t> rows_of(JudgedPairs pairs);
// An id for every sequence that pack_pairs_of_answers makes of these pairs, for dropout.
std::vector<uint64_t> sequence_ids(JudgedPairs pairs);

}  // namespace leash
