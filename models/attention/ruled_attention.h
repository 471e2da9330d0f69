// Attention by any AttentionRule, in plain tensor operations on any device and in any type: where
// what the fused kernels cannot express goes.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "models/attention/attention_rule.h"
#include "models/attention/sequence_rows.h"

namespace leash {

// Heads of a packed batch, or their gradients.
struct PackedHeads {
  at::Tensor query;  // [tokens, heads, head_dim], rotated
  at::Tensor key;    // [tokens, kv_heads, head_dim], rotated
  at::Tensor value;  // [tokens, kv_heads, head_dim]
};

// Scores are computed in fp32 at least, for as many rows at a time as make a few million of them,
// against the keys that those rows' windows reach and no others. -> [tokens, heads, head_dim]
// without gradients.
at::Tensor ruled_forward(const PackedHeads& heads, const std::vector<SequenceRows>& places,
                         const AttentionRule& rule);
// Gradients for dy = dL/doutput [tokens, heads, head_dim], from the heads alone: scores are
// computed again. What many sequences add to a shared prefix is summed in fp32 at least.
PackedHeads ruled_backward(const PackedHeads& heads, const at::Tensor& dy,
                           const std::vector<SequenceRows>& places, const AttentionRule& rule);

// Both as one differentiable function. -> [tokens, heads · head_dim]
at::Tensor ruled_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                           const std::vector<SequenceRows>& places, const AttentionRule& rule);

// Queries [rows, heads, head_dim] that are the last rows of what they see, keys and values
// [kv_heads, seen, head_dim]. -> [rows, heads · head_dim] without gradients.
at::Tensor ruled_last_rows(const at::Tensor& query, const at::Tensor& keys,
                           const at::Tensor& values, const AttentionRule& rule);

// One row of each sequence behind its `past` rows (int64 [sequences]): query [sequences, heads,
// head_dim], keys and values [sequences, kv_heads, positions, head_dim], `visible` as in
// CachedLayer. -> [sequences, heads · head_dim] without gradients.
at::Tensor ruled_next_rows(const at::Tensor& query, const at::Tensor& keys,
                           const at::Tensor& values, const at::Tensor& visible,
                           const at::Tensor& past, const AttentionRule& rule);

}  // namespace leash
