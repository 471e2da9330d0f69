// fused_attention's numbers, bit for bit, for rows that follow what a cache holds.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "models/attention/attention_cache.h"
#include "models/attention/attention_rule.h"
#include "models/attention/fused_attention.h"
#include "models/attention/rope.h"

namespace leash {

// The keys and values of a fused projection [tokens, (heads + 2 kv_heads) head_dim] as a cache
// keeps them: keys rotated, values a view. Where fused_attention_fits.
struct NewKeys {
  at::Tensor keys;    // [tokens, kv_heads, head_dim]
  at::Tensor values;  // [tokens, kv_heads, head_dim]
};
NewKeys new_keys(const at::Tensor& qkv, const at::Tensor& positions, const RopeTable& table,
                 const HeadShape& shape);

// Attention of the projection's queries over `layer`, which holds their keys: lengths[i] rows of
// sequence i. -> [tokens, heads · head_dim], without gradients. A row's result is the bits that
// fused_attention gives it, whatever else is in the batch, in the cache or shared.
at::Tensor fused_cached_attention(const at::Tensor& qkv, const at::Tensor& positions,
                                  const RopeTable& table, const HeadShape& shape,
                                  const CachedLayer& layer, const std::vector<int64_t>& lengths,
                                  const AttentionRule& rule = {});

}  // namespace leash
