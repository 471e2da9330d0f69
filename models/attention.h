// Causal attention over packed sequences, with or without a cache.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "models/attention_cache.h"

namespace leash {

// softmax(q kᵀ / sqrt(head_dim)) v within each sequence, every row seeing itself and what came
// before; query heads share key heads in groups (Ainslie et al. 2023). q [tokens, heads, head_dim],
// k and v [tokens, kv_heads, head_dim] -> [tokens, heads · head_dim]. Differentiable.
// `prefixes` as in PackedTokens: rows see those of the sequence that theirs continues as well.
at::Tensor packed_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                            const std::vector<int64_t>& lengths,
                            const std::vector<int64_t>& prefixes = {});

// The same for rows that follow what `layer` already holds (which includes them). No gradients. ->
// [tokens, heads · head_dim]
at::Tensor cached_attention(const at::Tensor& query, const CachedLayer& layer,
                            const std::vector<int64_t>& lengths);
at::Tensor cached_attention_plain(const at::Tensor& query, const CachedLayer& layer,
                                  const std::vector<int64_t>& lengths);

}  // namespace leash
