// Causal attention over packed sequences in one call, for devices other than the CPU: LibTorch's
// fused kernels on a GPU, which take sequences of different lengths end to end.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "models/attention/attention_rule.h"
#include "models/attention/sequence_rows.h"

namespace leash {

// Where each sequence's queries and keys are. A sequence that continues another one (PackedTokens'
// `prefixes`) has that one's keys before its own; its rows are the last of what they see.
struct VarlenPlan {
  at::Tensor query_starts;  // int32 [sequences + 1], the first row of each and the end
  at::Tensor key_starts;    // int32 [sequences + 1], the same of keys
  at::Tensor key_rows;  // int64 [keys], the packed row of each key; undefined: keys are the rows
  std::vector<SequenceRows> places;  // the same on the host
  int64_t longest_query = 0;
  int64_t longest_key = 0;
};
VarlenPlan varlen_plan(const std::vector<int64_t>& lengths, const std::vector<int64_t>& prefixes,
                       at::Device device);

// packed_attention's numbers. query [tokens, heads, head_dim], key and value [tokens, kv_heads,
// head_dim] -> [tokens, heads head_dim]. Differentiable. On a GPU: flash attention for bfloat16 and
// float16, memory-efficient attention for float32; elsewhere, for float64, and where the rule is
// more than a scale, the plain version.
at::Tensor varlen_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                            const VarlenPlan& plan, const AttentionRule& rule = {});

// Sequence by sequence; by ruled_attention where the rule is more than a scale.
at::Tensor varlen_attention_plain(const at::Tensor& query, const at::Tensor& key,
                                  const at::Tensor& value, const VarlenPlan& plan,
                                  const AttentionRule& rule = {});

}  // namespace leash
