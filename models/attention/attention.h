// Causal attention over packed sequences.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <vector>

#include "models/attention/attention_rule.h"
#include "models/attention/cached_attention.h"
#include "models/attention/fused_attention.h"
#include "models/attention/rope.h"
#include "models/attention/varlen_attention.h"

namespace leash {

// softmax(q kᵀ / sqrt(head_dim)) v within each sequence, every row seeing itself and what came
// before; query heads share key heads in groups (Ainslie et al. 2023). q [tokens, heads, head_dim],
// k and v [tokens, kv_heads, head_dim] -> [tokens, heads · head_dim]. Differentiable.
// `prefixes` as in PackedTokens: rows see those of the sequence that theirs continues as well.
// `rule`: what else the layer does. Where it is more than a scale, ruled_attention takes it.
at::Tensor packed_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                            const std::vector<int64_t>& lengths,
                            const std::vector<int64_t>& prefixes = {},
                            const AttentionRule& rule = {});

// Additive masks [1, 1, rows, prefix + rows] for sequences that continue a shared prefix, by the
// prefix's length: one for all layers of a forward on a CPU, of the longest such sequence; shorter
// ones use the top-left block.
using PrefixMasks = std::map<int64_t, at::Tensor>;

// What attention over a packed batch needs in every layer, whatever their rules, made once for a
// forward.
struct AttentionPlan {
  PrefixMasks masks;  // on a CPU where fused_attention does not fit
  VarlenPlan varlen;  // on other devices
  bool made = false;
};
AttentionPlan attention_plan(const std::vector<int64_t>& lengths,
                             const std::vector<int64_t>& prefixes, const at::TensorOptions& options,
                             const HeadShape& shape);

// The whole way from the fused projection [tokens, (heads + 2 kv_heads) head_dim] to attention's
// output: split_and_rotate, then packed_attention on a CPU, as one autograd node, and
// varlen_attention on other devices. An undefined table rotates nothing; one narrower than a head
// rotates the head's beginning. Where fused_attention fits, that is the node. What a node
// keeps for the backward pass is the heads (rotated, or the projection itself), its output and a
// number per row and head; gradients of sequences are written where they belong instead of being
// added up as whole tensors.
at::Tensor packed_self_attention(const at::Tensor& qkv,
                                 const at::Tensor& positions /* [tokens] int64 */,
                                 const RopeTable& table, const HeadShape& shape,
                                 const std::vector<int64_t>& lengths,
                                 const std::vector<int64_t>& prefixes = {},
                                 const AttentionPlan& plan = {} /* none: made here */,
                                 const AttentionRule& rule = {});

}  // namespace leash
