#include "models/decoder/block.h"

#include <ATen/ops/cat.h>

#include "models/decoder/mlp.h"
#include "models/decoder/norm.h"
#include "models/decoder/rows_by_adapter.h"
#include "models/lora/adapted_linear.h"

namespace leash {
namespace {

at::Tensor linear(const at::Tensor& x, const LinearGroup& group, const BlockPass& pass) {
  return adapted_linear(x, group, pass.adapters, pass.dropout, &pass.tokens.lengths);
}

at::Tensor norm(const at::Tensor& x, const NormWeight& weight, const BlockPass& pass) {
  return weight.there() ? normalised(x, weight, pass.config, pass.adapters) : x;
}

// Queries and keys through norms of their own; values stay.
at::Tensor normalised_heads(const at::Tensor& qkv, const BlockWeights& block,
                            const BlockPass& pass) {
  if (!block.query_norm.there()) return qkv;
  const int64_t queries = pass.config.num_heads * pass.config.head_dim;
  const int64_t keys = pass.config.num_kv_heads * pass.config.head_dim;
  return at::cat({norm(qkv.narrow(1, 0, queries), block.query_norm, pass),
                  norm(qkv.narrow(1, queries, keys), block.key_norm, pass),
                  qkv.narrow(1, queries + keys, keys)},
                 1);
}

// What attention adds, before it is scaled. `x` is let go when it was read.
at::Tensor attention_update(at::Tensor x, const BlockWeights& block, int64_t layer,
                            const BlockPass& pass) {
  at::Tensor qkv = linear(x, block.qkv, pass);
  x.reset();
  if (pass.config.qkv_layout == QkvLayout::grouped) qkv = ungrouped(qkv, pass.attention.shape());
  qkv = normalised_heads(qkv, block, pass);
  const at::Tensor attended = pass.attention(qkv, layer, pass.tokens, pass.plan, pass.cache);
  return norm(linear(attended, block.attention_output, pass), block.attention_post_norm, pass);
}

// What the MLP adds, likewise.
at::Tensor mlp_update(at::Tensor x, const BlockWeights& block, const BlockPass& pass) {
  const at::Tensor inner = linear(x, block.gate_up, pass);
  x.reset();
  const at::Tensor middle = pass.config.gated_mlp ? gated_activation(inner, pass.config.activation)
                                                  : activated(inner, pass.config.activation);
  return norm(linear(middle, block.down, pass), block.mlp_post_norm, pass);
}

at::Tensor scaled(const at::Tensor& x, double scale) { return scale == 1.0 ? x : x.mul(scale); }

}  // namespace

at::Tensor run_block(const at::Tensor& hidden, const BlockWeights& block, int64_t layer,
                     const BlockPass& pass) {
  const double scale = pass.config.residual_scale;
  if (pass.config.parallel_residual) {
    const at::Tensor input = norm(hidden, block.input_norm, pass);
    const at::Tensor attended = scaled(attention_update(input, block, layer, pass), scale);
    const at::Tensor other = pass.config.shared_norm ? input : norm(hidden, block.mlp_norm, pass);
    return hidden.add(attended.add(scaled(mlp_update(other, block, pass), scale)));
  }
  const at::Tensor between = hidden.add(
      scaled(attention_update(norm(hidden, block.input_norm, pass), block, layer, pass), scale));
  return between.add(scaled(mlp_update(norm(between, block.mlp_norm, pass), block, pass), scale));
}

at::Tensor normalised(const at::Tensor& x, const NormWeight& norm, const DecoderConfig& config,
                      const AdapterRows& adapters) {
  const int64_t width = norm.weight.size(0);
  const auto normalise = [&](const at::Tensor& rows, const ModuleCopies& copies) {
    const at::Tensor& weight = copies.weight != nullptr ? *copies.weight : norm.weight;
    const at::Tensor& bias = copies.bias != nullptr ? *copies.bias : norm.bias;
    const at::Tensor parts = rows.size(1) == width ? rows : rows.reshape({-1, width});
    at::Tensor y;
    if (config.norm == NormKind::layer) {
      y = layer_norm(parts, weight, bias, config.norm_epsilon);
    } else if (config.norm_offset != 0.0) {
      y = offset_rms_norm(parts, weight, config.norm_offset, config.norm_epsilon);
    } else {
      y = rms_norm(parts, weight, config.norm_epsilon);
    }
    return rows.size(1) == width ? y : y.view(rows.sizes());
  };
  return by_range(x, norm.module, adapters, normalise);
}

}  // namespace leash
