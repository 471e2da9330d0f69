#include "models/attention/attention.h"

#include <ATen/OpMathType.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include <algorithm>
#include <limits>
#include <map>
#include <optional>

#include "models/attention/fused_attention.h"
#include "models/attention/heads_first.h"
#include "models/attention/ruled_attention.h"
#include "models/kernels/node.h"

namespace leash {
namespace {

// One sequence's rows with the query heads sorted by the key head that they share, without a copy:
// [kv_heads, group, length, head_dim].
at::Tensor queries_by_group(const at::Tensor& x, int64_t row, int64_t length, int64_t kv_heads) {
  return x.narrow(0, row, length)
      .unflatten(1, {kv_heads, x.size(1) / kv_heads})
      .permute({1, 2, 0, 3});
}
at::Tensor keys_by_group(const at::Tensor& rows, int64_t group) {
  return rows.transpose(0, 1).unsqueeze(1).expand({-1, group, -1, -1});
}

struct PackedOutput {
  at::Tensor out;                     // [tokens, heads, head_dim]
  std::vector<at::Tensor> logsumexp;  // per sequence
};

// Row i sees the prefix and its own rows up to i; undefined where a plain causal mask does.
std::optional<at::Tensor> visible(const SequenceRows& place, const PrefixMasks& masks) {
  if (place.prefix_rows == 0) return std::nullopt;
  return masks.at(place.prefix_rows)
      .narrow(2, 0, place.rows)
      .narrow(3, 0, place.prefix_rows + place.rows);
}

PrefixMasks masks_of(const std::vector<SequenceRows>& places, const at::TensorOptions& options) {
  std::map<int64_t, int64_t> longest;
  for (const SequenceRows& place : places) {
    if (place.prefix_rows > 0)
      longest[place.prefix_rows] = std::max(longest[place.prefix_rows], place.rows);
  }
  PrefixMasks masks;
  for (const auto& [prefix_rows, rows] : longest) {
    masks[prefix_rows] = at::full({1, 1, rows, prefix_rows + rows},
                                  -std::numeric_limits<double>::infinity(), options)
                             .triu_(prefix_rows + 1);
  }
  return masks;
}

PackedOutput attend_forward(const PackedHeads& heads, const std::vector<SequenceRows>& places,
                            const PrefixMasks& masks, const AttentionRule& rule) {
  if (!rule.only_scaled()) {
    return {.out = ruled_forward(heads, places, rule), .logsumexp = {}};
  }
  const int64_t kv_heads = heads.key.size(1);
  const int64_t group = heads.query.size(1) / kv_heads;
  PackedOutput result{.out = at::empty(heads.query.sizes(), heads.query.options()),
                      .logsumexp = {}};
  for (const SequenceRows& place : places) {
    const auto mask = visible(place, masks);
    const auto [out, logsumexp] = at::_scaled_dot_product_flash_attention_for_cpu(
        queries_by_group(heads.query, place.begin, place.rows, kv_heads),
        keys_by_group(seen_by(heads.key, place), group),
        keys_by_group(seen_by(heads.value, place), group), /*dropout_p=*/0.0,
        /*is_causal=*/!mask, mask, rule.given_scale());
    queries_by_group(result.out, place.begin, place.rows, kv_heads).copy_(out);
    result.logsumexp.push_back(logsumexp);
  }
  return result;
}

PackedHeads attend_backward(const PackedHeads& heads, const PackedOutput& forward,
                            const at::Tensor& dy, const std::vector<SequenceRows>& places,
                            const PrefixMasks& masks, const AttentionRule& rule) {
  if (!rule.only_scaled()) return ruled_backward(heads, dy, places, rule);
  const int64_t kv_heads = heads.key.size(1);
  const int64_t group = heads.query.size(1) / kv_heads;
  // What many sequences add to a shared prefix is summed in fp32 at least and rounded once.
  const bool shared =
      std::ranges::any_of(places, [](const SequenceRows& place) { return place.prefix_rows > 0; });
  const at::ScalarType sums = shared ? at::toOpMathType(dy.scalar_type()) : dy.scalar_type();
  PackedHeads gradients{.query = at::empty(heads.query.sizes(), dy.options()),
                        .key = at::empty(heads.key.sizes(), dy.options().dtype(sums)),
                        .value = at::empty(heads.value.sizes(), dy.options().dtype(sums))};
  // A sequence's own rows come before whatever continues it adds to them.
  const auto give = [&](const at::Tensor& all, const at::Tensor& grouped,
                        const SequenceRows& place) {
    const at::Tensor rows =
        grouped.sum(1, /*keepdim=*/false, sums).transpose(0, 1);  // [seen, kv_heads, head_dim]
    all.narrow(0, place.begin, place.rows).copy_(rows.narrow(0, place.prefix_rows, place.rows));
    if (place.prefix_rows == 0) return;
    all.narrow(0, place.prefix_begin, place.prefix_rows).add_(rows.narrow(0, 0, place.prefix_rows));
  };
  for (size_t i = 0; i < places.size(); ++i) {
    const SequenceRows& place = places[i];
    const auto mask = visible(place, masks);
    const auto [dq, dk, dv] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
        queries_by_group(dy, place.begin, place.rows, kv_heads),
        queries_by_group(heads.query, place.begin, place.rows, kv_heads),
        keys_by_group(seen_by(heads.key, place), group),
        keys_by_group(seen_by(heads.value, place), group),
        queries_by_group(forward.out, place.begin, place.rows, kv_heads), forward.logsumexp[i],
        /*dropout_p=*/0.0, /*is_causal=*/!mask, mask, rule.given_scale());
    queries_by_group(gradients.query, place.begin, place.rows, kv_heads).copy_(dq);
    give(gradients.key, dk, place);
    give(gradients.value, dv, place);
  }
  gradients.key = gradients.key.to(dy.scalar_type());
  gradients.value = gradients.value.to(dy.scalar_type());
  return gradients;
}

QueryKeyValue split(const at::Tensor& qkv, const at::Tensor& positions, const RopeTable& table,
                    const HeadShape& shape) {
  return split_and_rotate(qkv, positions, table, shape.num_heads, shape.num_kv_heads,
                          shape.head_dim);
}

at::Tensor varlen_self_attention(const at::Tensor& qkv, const at::Tensor& positions,
                                 const RopeTable& table, const HeadShape& shape,
                                 const VarlenPlan& plan, const AttentionRule& rule) {
  const QueryKeyValue heads = split(qkv, positions, table, shape);
  return varlen_attention(heads.query, heads.key, heads.value, plan, rule);
}

at::Tensor plain_self_attention(const at::Tensor& qkv, const at::Tensor& positions,
                                const RopeTable& table, const HeadShape& shape,
                                const std::vector<SequenceRows>& places, const PrefixMasks& masks,
                                const AttentionRule& rule) {
  PackedHeads heads;
  PackedOutput result;
  {
    const c10::AutoGradMode no_grad(false);
    const QueryKeyValue parts = split(qkv.detach(), positions, table, shape);
    heads = {.query = parts.query.contiguous(),
             .key = parts.key.contiguous(),
             .value = parts.value.contiguous()};
    result = attend_forward(heads, places, masks, rule);
  }
  const at::Tensor y = result.out.flatten(1);
  if (!differentiable({qkv})) return y;
  return with_backward(
      y, {qkv}, "PackedSelfAttentionBackward",
      [heads, result, places, masks, positions, table, rule](const at::Tensor& dy) {
        const RopeTable transposed = table.transposed();
        const PackedHeads gradients = attend_backward(
            heads, result, dy.unflatten(1, heads.query.sizes().slice(1)), places, masks, rule);
        return torch::autograd::variable_list{at::cat(
            {rotate(gradients.query, positions, transposed).flatten(1),
             rotate(gradients.key, positions, transposed).flatten(1), gradients.value.flatten(1)},
            1)};
      });
}

// Keeps the projection as it is instead of rotated heads.
at::Tensor fused_self_attention(const at::Tensor& qkv, const at::Tensor& positions,
                                const RopeTable& table, const HeadShape& shape,
                                const std::vector<SequenceRows>& places,
                                const AttentionRule& rule) {
  const at::Tensor input = qkv.detach().contiguous();
  const bool differentiates = differentiable({qkv});
  const AttentionOutput result =
      fused_attention(input, positions, table, shape, places, differentiates, rule);
  if (!differentiates) return result.out;
  const at::Tensor y = result.out.detach();  // the node keeps `out`, and `y` the node
  return with_backward(
      y, {qkv}, "FusedSelfAttentionBackward",
      [input, result, places, positions, table, shape, rule](const at::Tensor& dy) {
        return torch::autograd::variable_list{
            fused_attention_backward(input, positions, table, shape, places, result, dy, rule)};
      });
}

}  // namespace

AttentionPlan attention_plan(const std::vector<int64_t>& lengths,
                             const std::vector<int64_t>& prefixes, const at::TensorOptions& options,
                             const HeadShape& shape) {
  AttentionPlan plan{.masks = {}, .varlen = {}, .made = true};
  const std::vector<SequenceRows> places = packed_rows(lengths, prefixes);
  if (!options.device().is_cpu()) {
    plan.varlen = varlen_plan(lengths, prefixes, options.device());
  } else if (!fused_attention_fits(options, shape)) {
    plan.masks = masks_of(places, options);
  }
  return plan;
}

at::Tensor packed_self_attention(const at::Tensor& qkv, const at::Tensor& positions,
                                 const RopeTable& table, const HeadShape& shape,
                                 const std::vector<int64_t>& lengths,
                                 const std::vector<int64_t>& prefixes, const AttentionPlan& given,
                                 const AttentionRule& given_rule) {
  const std::vector<SequenceRows> places = packed_rows(lengths, prefixes);
  const AttentionRule rule = given_rule.within(longest_seen(places));
  if (fused_attention_fits(qkv.options(), shape, rule)) {
    return fused_self_attention(qkv, positions, table, shape, places, rule);
  }
  const AttentionPlan plan =
      given.made ? given : attention_plan(lengths, prefixes, qkv.options(), shape);
  return qkv.is_cpu() ? plain_self_attention(qkv, positions, table, shape, places, plan.masks, rule)
                      : varlen_self_attention(qkv, positions, table, shape, plan.varlen, rule);
}

at::Tensor packed_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                            const std::vector<int64_t>& lengths,
                            const std::vector<int64_t>& prefixes, const AttentionRule& given_rule) {
  const bool grouped = query.size(1) != key.size(1);
  const std::vector<SequenceRows> places = packed_rows(lengths, prefixes);
  const AttentionRule rule = given_rule.within(longest_seen(places));
  if (!rule.only_scaled()) return ruled_attention(query, key, value, places, rule);
  std::map<int64_t, at::Tensor> shared_keys, shared_values;
  std::vector<at::Tensor> outputs;
  outputs.reserve(places.size());
  for (const SequenceRows& place : places) {
    // The prefix's queries stand before the sequence's own and are dropped afterwards, which costs
    // less than a mask.
    const at::Tensor output = rows_first(at::scaled_dot_product_attention(
        heads_first(seen_by(query, place)), heads_first(seen_by(key, place, shared_keys)),
        heads_first(seen_by(value, place, shared_values)), /*attn_mask=*/std::nullopt,
        /*dropout_p=*/0.0,
        /*is_causal=*/true, rule.given_scale(), /*enable_gqa=*/grouped));
    outputs.push_back(place.prefix_rows == 0 ? output
                                             : output.narrow(0, place.prefix_rows, place.rows));
  }
  return outputs.size() == 1 ? outputs[0] : at::cat(outputs);
}

}  // namespace leash
