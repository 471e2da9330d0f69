// Attention of a decoder's layers: which rotation and which rule each of them has.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "models/attention/attention.h"
#include "models/attention/rope.h"
#include "models/decoder/packed_tokens.h"
#include "models/families/decoder_config.h"

namespace leash {

class LayerAttention {
 public:
  LayerAttention(const DecoderConfig& config, at::Device device);

  // From now on positions below `positions` can be rotated.
  void cover(int64_t positions) const;

  // What attention makes of a layer's queries, keys and values, [tokens, (heads + 2 kv_heads)
  // head_dim] in that order. Differentiable without a cache.
  at::Tensor operator()(const at::Tensor& qkv, int64_t layer, const PackedTokens& tokens,
                        const AttentionPlan& plan, AttentionCache* cache) const;

  const HeadShape& shape() const { return shape_; }

 private:
  RopeTable table(int64_t layer) const;

  HeadShape shape_;
  std::optional<GrowingRopeTable> global_, local_;  // none: no layer is rotated by it
  std::vector<LayerRope> ropes_;                    // by layer
  std::vector<AttentionRule> rules_;                // by layer
};

// The slopes of `heads` heads, fp32 on `device` (Press et al. 2021, arXiv:2108.12409, with the
// paper's rule for numbers that are no powers of two; in fp32 as transformers computes them).
at::Tensor alibi_slopes(int64_t heads, at::Device device);

// A fused projection's columns, grouped as QkvLayout::grouped says, as [all queries, all keys, all
// values]. Differentiable.
at::Tensor ungrouped(const at::Tensor& qkv, const HeadShape& shape);

}  // namespace leash
