// Where the sequences of a packed batch are.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <vector>

namespace leash {

// Where a sequence's rows are, and those of the sequence that it continues.
struct SequenceRows {
  int64_t begin = 0;
  int64_t rows = 0;
  int64_t prefix_begin = 0;
  int64_t prefix_rows = 0;  // 0: it continues none

  int64_t seen() const { return prefix_rows + rows; }  // by its last row
};

// `prefixes` as in PackedTokens; empty: no sequence continues another one.
std::vector<SequenceRows> packed_rows(const std::vector<int64_t>& lengths,
                                      const std::vector<int64_t>& prefixes);
// The most keys that a row sees.
int64_t longest_seen(const std::vector<SequenceRows>& places);

// What a sequence's rows see of x [tokens, …]: their own rows, behind those of the sequence that
// they continue.
at::Tensor seen_by(const at::Tensor& x, const SequenceRows& place);
// The same where gradients come back through autograd: a prefix that is in `shared` already (by
// its first row) is taken from there, so that what its sequences give it is summed in one place, in
// fp32 at least, and rounded once.
at::Tensor seen_by(const at::Tensor& x, const SequenceRows& place,
                   std::map<int64_t, at::Tensor>& shared);

}  // namespace leash
