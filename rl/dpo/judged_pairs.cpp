#include "rl/dpo/judged_pairs.h"

#include <algorithm>

namespace leash {
namespace {

int64_t scored_tokens(const std::vector<int64_t>& ids, int64_t answer_begin) {
  return std::ssize(ids) - std::max<int64_t>(answer_begin, 1);
}

// Tokens of both that stand once in a batch: each keeps a row of its own before its last token.
int64_t shared_tokens(const PreferencePair& pair) {
  const int64_t shorter = std::min(std::ssize(pair.chosen), std::ssize(pair.rejected));
  const int64_t shared = std::min(pair.common, shorter - 2);
  return shared < kLeastSharedTokens ? 0 : shared;
}

}  // namespace

int64_t chosen_scored(const PreferencePair& pair) {
  return scored_tokens(pair.chosen, pair.chosen_begin);
}
int64_t rejected_scored(const PreferencePair& pair) {
  return scored_tokens(pair.rejected, pair.rejected_begin);
}

std::vector<int64_t> rows_of(JudgedPairs pairs) {
  std::vector<int64_t> rows;
  for (const JudgedPair& judged : pairs) {
    rows.push_back(judged.pair->tokens() - 2 - shared_tokens(*judged.pair));
  }
  return rows;
}

std::vector<uint64_t> sequence_ids(JudgedPairs pairs) {
  std::vector<uint64_t> ids;
  for (const JudgedPair& judged : pairs) {
    for (uint64_t part = shared_tokens(*judged.pair) > 0 ? 0 : 1; part < 3; ++part) {
      ids.push_back(3 * judged.pair->id + part);
    }
  }
  return ids;
}

std::vector<JudgedPair> judged_pairs(const std::vector<PreferencePair>& pairs) {
  std::vector<JudgedPair> judged;
  for (const PreferencePair& pair : pairs) judged.push_back({.pair = &pair});
  return judged;
}

std::vector<AnswerText> answer_texts(JudgedPairs pairs) {
  std::vector<AnswerText> texts;
  for (const JudgedPair& judged : pairs) {
    const PreferencePair& pair = *judged.pair;
    texts.push_back({.ids = pair.chosen, .answer_begin = std::max<int64_t>(pair.chosen_begin, 1)});
    texts.push_back(
        {.ids = pair.rejected, .answer_begin = std::max<int64_t>(pair.rejected_begin, 1)});
  }
  return texts;
}

JudgedBatch pack_pairs_of_answers(JudgedPairs pairs, const std::optional<double>& ld_alpha) {
  std::vector<TextGroup> groups;
  std::optional<LengthWeights> weights;
  if (ld_alpha) weights = {.tail = *ld_alpha, .full_tokens = {}};
  for (const JudgedPair& judged : pairs) {
    const PreferencePair& pair = *judged.pair;
    groups.push_back({.num_texts = 2, .shared = shared_tokens(pair)});
    const int64_t both = std::min(chosen_scored(pair), rejected_scored(pair));
    if (weights) weights->full_tokens.insert(weights->full_tokens.end(), {both, both});
  }
  return pack_judged(answer_texts(pairs), groups, weights);
}

}  // namespace leash
