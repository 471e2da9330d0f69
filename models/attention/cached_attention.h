// Causal attention of new rows over a cache that holds what came before them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "models/attention/attention_cache.h"
#include "models/attention/attention_rule.h"

namespace leash {

// packed_attention's numbers for rows that follow what `layer` already holds (which includes them):
// query [tokens, heads, head_dim], rotated; lengths[i] rows of sequence i. No gradients. ->
// [tokens, heads · head_dim]. In fp32 on a CPU rows before a window are not read.
at::Tensor cached_attention(const at::Tensor& query, const CachedLayer& layer,
                            const std::vector<int64_t>& lengths, const AttentionRule& rule = {});
// By LibTorch's attention with masks; by ruled_attention where the rule is more than a scale.
at::Tensor cached_attention_plain(const at::Tensor& query, const CachedLayer& layer,
                                  const std::vector<int64_t>& lengths,
                                  const AttentionRule& rule = {});

}  // namespace leash
