// Causal attention over packed sequences from the fused projection in one pass, forward and
// backward: fp32 on a CPU with AVX-512. Queries and keys are rotated when they are read, scores
// stay in a core's cache, and gradients are written where they belong in the projection's gradient.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "models/attention/attention_rule.h"
#include "models/attention/rope.h"
#include "models/attention/sequence_rows.h"

namespace leash {

struct HeadShape {
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
};

struct AttentionOutput {
  at::Tensor out;        // [tokens, heads · head_dim]
  at::Tensor logsumexp;  // [tokens, heads] fp32, of the scaled scores; undefined where nobody asked
};

// fp32 on a CPU with AVX-512, heads of whole registers, and no rule but for Falcon's bias. Keys
// before a window cost nothing.
bool fused_attention_fits(const at::TensorOptions& options, const HeadShape& shape,
                          const AttentionRule& rule = {});

// qkv [tokens, (heads + 2 kv_heads) head_dim] as it comes from the projection, positions [tokens]
// int64. `places` cover all rows. A row's result does not depend on other sequences, nor on
// threads.
AttentionOutput fused_attention(const at::Tensor& qkv, const at::Tensor& positions,
                                const RopeTable& table, const HeadShape& shape,
                                const std::vector<SequenceRows>& places, bool keep_logsumexp,
                                const AttentionRule& rule = {});

// dL/dqkv for dy = dL/dout [tokens, heads · head_dim] (Dao et al. 2022, arXiv:2205.14135, algorithm
// 4, with logsumexp in place of maximum and sum): D = rowsum(dO O), P = exp(S - logsumexp),
// dV = Pᵀ dO, dS = P (dO Vᵀ - D), dQ = dS K, dK = dSᵀ Q. Sums have one order whatever the threads.
at::Tensor fused_attention_backward(const at::Tensor& qkv, const at::Tensor& positions,
                                    const RopeTable& table, const HeadShape& shape,
                                    const std::vector<SequenceRows>& places,
                                    const AttentionOutput& forward, const at::Tensor& dy,
                                    const AttentionRule& rule = {});

}  // namespace leash
