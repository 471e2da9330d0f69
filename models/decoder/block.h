// One transformer block: attention and MLP, each between its norms, added to what came in.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "models/attention/attention.h"
#include "models/decoder/decoder.h"
#include "models/decoder/decoder_weights.h"
#include "models/decoder/layer_attention.h"

namespace leash {

// What all blocks of a pass share.
struct BlockPass {
  const DecoderConfig& config;
  const LayerAttention& attention;
  const PackedTokens& tokens;
  const AttentionPlan& plan;
  const AdapterRows& adapters;
  const DropoutKey* dropout = nullptr;
  AttentionCache* cache = nullptr;
};

// hidden [tokens, hidden] -> [tokens, hidden]. Differentiable without a cache.
at::Tensor run_block(const at::Tensor& hidden, const BlockWeights& block, int64_t layer,
                     const BlockPass& pass);

// x [rows, n width] through a norm of `width`, of the kind that the facts say; n > 1: each part of
// a row for itself.
at::Tensor normalised(const at::Tensor& x, const NormWeight& norm, const DecoderConfig& config,
                      const AdapterRows& adapters);

}  // namespace leash
