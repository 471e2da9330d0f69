// Rotary position embedding (Su et al. 2021, "RoFormer"), in the half-split layout that Hugging
// Face checkpoints use.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <mutex>

#include "models/families/decoder_config.h"

namespace leash {

// Undefined: nothing is rotated. Narrower than a head: the head's first rotary_dim entries are, as
// pairs (i, i + rotary_dim / 2), and the rest stays as it is.
struct RopeTable {
  at::Tensor cosines;  // [positions, rotary_dim / 2] fp32
  at::Tensor sines;    // [positions, rotary_dim / 2] fp32

  bool rotates() const { return cosines.defined(); }
  // Of a rotation's gradient.
  RopeTable transposed() const {
    return rotates() ? RopeTable{.cosines = cosines, .sines = sines.neg()} : RopeTable{};
  }
};

// Angles in fp32 as transformers computes them, for positions 0 … max_positions - 1, with the
// configured scaling (rope_frequencies.h); cosines and sines times attention_factor.
RopeTable rope_table(const RopeConfig& config, int64_t max_positions);

// The table of a model whose context may be far longer than anything it is asked: it grows to the
// positions in use, in powers of two, and never beyond `max_positions`. Safe from many threads.
class GrowingRopeTable {
 public:
  GrowingRopeTable(const RopeConfig& config, int64_t max_positions, at::Device device = at::kCPU)
      : config_(config), max_positions_(max_positions), device_(device) {}
  // From now on table() has at least `positions` rows.
  void cover(int64_t positions) const;
  RopeTable table() const;

 private:
  RopeConfig config_;
  int64_t max_positions_;
  at::Device device_;
  mutable std::mutex mutex_;
  mutable RopeTable table_;
};

struct QueryKeyValue {
  at::Tensor query;  // [tokens, heads, head_dim]
  at::Tensor key;    // [tokens, kv_heads, head_dim]
  at::Tensor value;  // [tokens, kv_heads, head_dim]
};

// Splits the fused projection [tokens, (heads + 2 kv_heads) head_dim] and rotates queries and keys
// to their positions.
QueryKeyValue split_and_rotate(const at::Tensor& qkv,
                               const at::Tensor& positions /* [tokens] int64 */,
                               const RopeTable& table, int64_t num_heads, int64_t num_kv_heads,
                               int64_t head_dim);

// x [tokens, heads, head_dim] rotated to `positions`. Differentiable. Fused for fp32, otherwise the
// plain version.
at::Tensor rotate(const at::Tensor& x, const at::Tensor& positions, const RopeTable& table);
at::Tensor rotate_plain(const at::Tensor& x, const at::Tensor& positions, const RopeTable& table);

}  // namespace leash
