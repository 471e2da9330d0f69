// Sequences as the decoder reads them: end to end, without padding.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

namespace leash {

// Sequences end to end, without padding. Ids and positions may be on the CPU whatever the
// decoder's device is: forward takes them there.
struct PackedTokens {
  at::Tensor ids;                // [tokens] int64
  at::Tensor positions;          // [tokens] int64, position of each token in its sequence
  std::vector<int64_t> lengths;  // rows of each sequence; they sum to `tokens`
  // Which earlier sequence of the batch each one continues (-1: none; empty: none does): its rows
  // see that one's as well, so that a prefix of several sequences is computed once. Positions go on
  // where it ends. Not with a cache. (pack_groups in models/decoder/packed_texts.h makes such
  // batches.)
  std::vector<int64_t> prefixes = {};
};

// Packs sequences from position 0 on.
PackedTokens pack(std::span<const std::vector<int64_t>> sequences);
PackedTokens pack_one(const std::vector<int64_t>& sequence);

}  // namespace leash
