#include "models/decoder/packed_tokens.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>
#include <c10/util/Exception.h>

namespace leash {

PackedTokens pack(std::span<const std::vector<int64_t>> sequences) {
  std::vector<int64_t> ids;
  std::vector<int64_t> positions;
  PackedTokens packed;
  for (const std::vector<int64_t>& sequence : sequences) {
    TORCH_CHECK(!sequence.empty(), "pack: an empty sequence");
    ids.insert(ids.end(), sequence.begin(), sequence.end());
    for (size_t i = 0; i < sequence.size(); ++i) positions.push_back(static_cast<int64_t>(i));
    packed.lengths.push_back(static_cast<int64_t>(sequence.size()));
  }
  packed.ids = at::tensor(ids, at::kLong);
  packed.positions = at::tensor(positions, at::kLong);
  return packed;
}

PackedTokens pack_one(const std::vector<int64_t>& sequence) { return pack({&sequence, 1}); }

}  // namespace leash
