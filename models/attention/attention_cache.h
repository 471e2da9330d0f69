// Where keys and values of earlier positions are kept: the interface through which the decoder uses
// a cache without knowing who owns it. rollout/kv_cache implements it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace leash {

// What attention needs of one layer after the new rows were appended. Sequence i of the packed
// batch lives in slot slots[i]; its first past[i] rows were there before this call.
struct CachedLayer {
  at::Tensor keys;    // [slots, kv_heads, capacity, head_dim]
  at::Tensor values;  // [slots, kv_heads, capacity, head_dim]
  const std::vector<int64_t>* slots = nullptr;
  const std::vector<int64_t>* past = nullptr;
  // For a cache that is not on the CPU, made once for all layers of a forward: the slots on its
  // device (int64 [sequences]; undefined where keys and values are those of the sequences already,
  // in their order, and as long as `visible`), and what is added to the attention scores of each
  // sequence's next row: 0 where it sees, -inf elsewhere ([sequences, positions], of the keys'
  // dtype).
  at::Tensor slot_index = {};
  at::Tensor visible = {};
  at::Tensor past_index = {};  // `past` on that device (int64 [sequences])
};

class AttentionCache {
 public:
  virtual ~AttentionCache() = default;
  // Writes the new rows' keys and values (packed as the forward's tokens: sequence after sequence,
  // lengths[i] rows each) behind what slot i already holds in `layer`, and returns that layer. The
  // decoder calls it once per layer and forward; lengths become part of `past` only when the owner
  // says so after the forward.
  virtual CachedLayer append(int64_t layer,
                             const at::Tensor& keys /* [tokens, kv_heads, head_dim] */,
                             const at::Tensor& values /* [tokens, kv_heads, head_dim] */,
                             const std::vector<int64_t>& lengths) = 0;
};

}  // namespace leash
