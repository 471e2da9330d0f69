// Texts as one packed batch in which a shared prefix stands once.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "models/decoder/packed_tokens.h"

namespace leash {

using TokenSpan = std::span<const int64_t>;

// Shorter prefixes, and those that save less than an eighth of all rows, are not worth an attention
// of their own.
inline constexpr int64_t kLeastSharedTokens = 8;
inline constexpr int64_t kLeastSavedShare = 8;

// Length of the prefix that all texts share, at most one less than the shortest has; 0 where that
// is not worth it or there are fewer than two texts. A chat template's system message is such a
// prefix, or one prompt with several answers.
int64_t shared_prefix(std::span<const TokenSpan> texts);

// Texts that stand one after another and share their first `shared` tokens (0: nothing). Each has
// at least one token more.
struct TextGroup {
  int64_t num_texts = 0;
  int64_t shared = 0;
};

struct PackedTexts {
  PackedTokens tokens;

  // Where a text's rows are.
  struct Place {
    int64_t shared = 0;        // tokens of its group's prefix
    int64_t prefix_begin = 0;  // row of the prefix's first token
    int64_t begin = 0;         // row of the first token behind it
    int64_t length = 0;        // tokens of the text
  };
  std::vector<Place> places;  // by text

  // The row that holds a text's token: one row for all texts of a group where that is shared.
  int64_t row(int64_t text, int64_t position) const {
    const Place& place = places[static_cast<size_t>(text)];
    return position < place.shared ? place.prefix_begin + position
                                   : place.begin + position - place.shared;
  }
  int64_t last_row(int64_t text) const {
    return row(text, places[static_cast<size_t>(text)].length - 1);
  }
};

// Group by group: its prefix, then the rest of each of its texts. States, and gradients that come
// back through them, are those of whole texts (up to rounding).
PackedTexts pack_groups(std::span<const TokenSpan> texts, std::span<const TextGroup> groups);

// All texts as one group, by shared_prefix.
PackedTexts pack_shared(std::span<const TokenSpan> texts);

// A text whose tokens from `answer_begin` (1 or more) on are an answer.
struct AnswerText {
  TokenSpan ids;
  int64_t answer_begin = 0;
};

// Which row predicts which token, for every token of every answer, text by text. A text's last
// token is only ever a target: it has no row.
struct PackedAnswers {
  PackedTexts contexts;
  at::Tensor rows;     // [answer tokens] int64, packed row whose state predicts the token
  at::Tensor targets;  // [answer tokens] int64
};
// `groups` over the texts without their last tokens.
PackedAnswers pack_answers(std::span<const AnswerText> texts, std::span<const TextGroup> groups);
// As one group, by shared_prefix.
PackedAnswers pack_answers(std::span<const AnswerText> texts);

// Neighbours with one prompt (all before `answer_begin`) as a group that shares it, a token less
// where an answer has only one. Over the texts without their last tokens, as pack_answers wants it.
std::vector<TextGroup> prompt_groups(std::span<const AnswerText> texts);
// By prompt, or as one group, whichever leaves fewer rows.
PackedAnswers pack_by_prompt(std::span<const AnswerText> texts);

// The whole batch, and once more behind it: for two adapters in one pass.
PackedTokens packed_twice(const PackedTokens& tokens);

}  // namespace leash
