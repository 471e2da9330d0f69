#include "models/decoder/layer_attention.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "models/attention/fused_cached_attention.h"

namespace leash {
namespace {

AttentionRule rule_of(const DecoderConfig& config, const LayerFacts& layer,
                      const at::Tensor& slopes) {
  AttentionRule rule;
  const double usual = 1.0 / std::sqrt(static_cast<double>(config.head_dim));
  // A scale that is the usual one but for its last bit is written as such.
  const bool given = std::abs(config.attention_scale - usual) > 1e-12 * usual;
  rule.scale = given ? config.attention_scale : 0.0;
  rule.window = layer.window < config.max_positions ? layer.window : 0;
  rule.softcap = config.attention_softcap;
  rule.slopes = slopes;
  rule.bfloat16_bias = config.alibi_in_bfloat16;
  return rule;
}

}  // namespace

LayerAttention::LayerAttention(const DecoderConfig& config, at::Device device)
    : shape_{config.num_heads, config.num_kv_heads, config.head_dim} {
  const bool rotates = config.positions == PositionKind::rotary;
  const at::Tensor slopes = config.positions == PositionKind::alibi
                                ? alibi_slopes(config.num_heads, device)
                                : at::Tensor();
  for (int64_t i = 0; i < config.num_layers; ++i) {
    const LayerFacts layer = config.layers.empty() ? LayerFacts{} : config.layers.at(i);
    ropes_.push_back(rotates ? layer.rope : LayerRope::none);
    rules_.push_back(rule_of(config, layer, slopes));
  }
  if (std::ranges::find(ropes_, LayerRope::global) != ropes_.end()) {
    global_.emplace(config.rope, config.max_positions, device);
  }
  if (std::ranges::find(ropes_, LayerRope::local) != ropes_.end()) {
    TORCH_CHECK(config.local_rope, "a layer's rotation is local, and there is none");
    local_.emplace(*config.local_rope, config.max_positions, device);
  }
}

void LayerAttention::cover(int64_t positions) const {
  if (global_) global_->cover(positions);
  if (local_) local_->cover(positions);
}

RopeTable LayerAttention::table(int64_t layer) const {
  switch (ropes_[layer]) {
    case LayerRope::global:
      return global_->table();
    case LayerRope::local:
      return local_->table();
    case LayerRope::none:
      break;
  }
  return {};
}

at::Tensor LayerAttention::operator()(const at::Tensor& qkv, int64_t layer,
                                      const PackedTokens& tokens, const AttentionPlan& plan,
                                      AttentionCache* cache) const {
  const AttentionRule& rule = rules_[layer];
  if (cache == nullptr) {
    return packed_self_attention(qkv, tokens.positions, table(layer), shape_, tokens.lengths,
                                 tokens.prefixes, plan, rule);
  }
  if (fused_attention_fits(qkv.options(), shape_, rule)) {
    const at::Tensor rows = qkv.contiguous();
    const auto [keys, values] = new_keys(rows, tokens.positions, table(layer), shape_);
    const CachedLayer cached = cache->append(layer, keys, values, tokens.lengths);
    return fused_cached_attention(rows, tokens.positions, table(layer), shape_, cached,
                                  tokens.lengths, rule);
  }
  const QueryKeyValue heads = split_and_rotate(
      qkv, tokens.positions, table(layer), shape_.num_heads, shape_.num_kv_heads, shape_.head_dim);
  const CachedLayer cached = cache->append(layer, heads.key, heads.value, tokens.lengths);
  const bool fresh = std::ranges::all_of(*cached.past, [](int64_t past) { return past == 0; });
  if (fresh && plan.made && !qkv.is_cpu())
    return varlen_attention(heads.query, heads.key, heads.value, plan.varlen, rule);
  if (fresh) return packed_attention(heads.query, heads.key, heads.value, tokens.lengths, {}, rule);
  return cached_attention(heads.query, cached, tokens.lengths, rule);
}

at::Tensor alibi_slopes(int64_t heads, at::Device device) {
  const auto power = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(heads)));
  const auto base = [](int64_t of) {
    return static_cast<float>(std::exp2(-std::exp2(3.0 - std::log2(static_cast<double>(of)))));
  };
  std::vector<float> slopes;
  for (int64_t i = 1; i <= power; ++i)
    slopes.push_back(std::pow(base(power), static_cast<float>(i)));
  // Every second one of twice as many heads.
  for (int64_t i = 1; std::ssize(slopes) < heads; i += 2) {
    slopes.push_back(std::pow(base(2 * power), static_cast<float>(i)));
  }
  return at::tensor(slopes, at::kFloat).to(device);
}

at::Tensor ungrouped(const at::Tensor& qkv, const HeadShape& shape) {
  const int64_t rows = qkv.size(0), group = shape.num_heads / shape.num_kv_heads;
  const at::Tensor heads = qkv.reshape({rows, shape.num_kv_heads, group + 2, shape.head_dim});
  return at::cat(
      {heads.narrow(2, 0, group).reshape({rows, -1}), heads.select(2, group).reshape({rows, -1}),
       heads.select(2, group + 1).reshape({rows, -1})},
      1);
}

}  // namespace leash
