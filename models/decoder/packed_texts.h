// Texts as one packed batch in which what all of them begin with stands once.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/decoder/packed_tokens.h"

namespace leash {

using TokenSpan = std::span<const int64_t>;

// Shorter beginnings, and those that save less than an eighth of all rows, are not worth an
// attention of their own.
inline constexpr int64_t kLeastSharedTokens = 8;
inline constexpr int64_t kLeastSavedShare = 8;

// How many tokens all texts begin with, at most one less than the shortest has; 0 where that is
// not worth it or there are fewer than two texts. A chat template's system message
// is such a beginning, or one prompt with several answers.
int64_t shared_beginning(std::span<const TokenSpan> texts);

struct PackedTexts {
  PackedTokens tokens;
  int64_t shared = 0;           // tokens of the shared beginning, the batch's first sequence
  std::vector<int64_t> begins;  // row of each text's first token behind it

  // The row that holds a text's token: one row for all texts where that is shared.
  int64_t row(int64_t text, int64_t position) const {
    return position < shared ? position : begins[static_cast<size_t>(text)] + position - shared;
  }
};

// States, and gradients that come back through them, are those of whole texts (up to rounding).
PackedTexts pack_shared(std::span<const std::vector<int64_t>> texts);

}  // namespace leash
