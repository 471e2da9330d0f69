#include "models/attention/attention.h"

#include <ATen/OpMathType.h>
#include <ATen/Parallel.h>
#include <ATen/ops/_scaled_dot_product_efficient_attention.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>

#include "models/attention/fused_attention.h"
#include "models/attention/heads_first.h"
#include "models/kernels/kernels.h"
#include "models/kernels/node.h"

namespace leash {
namespace {

// Rows of one sequence in the packed batch, and the cache slot that they see.
struct RowOfBatch {
  int64_t slot = 0;
  int64_t visible = 0;  // cached positions that this row attends to, itself included
};

std::vector<RowOfBatch> rows_of_batch(const CachedLayer& layer,
                                      const std::vector<int64_t>& lengths) {
  std::vector<RowOfBatch> rows;
  for (size_t i = 0; i < lengths.size(); ++i) {
    for (int64_t j = 0; j < lengths[i]; ++j) {
      rows.push_back({.slot = (*layer.slots)[i], .visible = (*layer.past)[i] + j + 1});
    }
  }
  return rows;
}

// What the backward pass of packed_self_attention needs.
struct PackedHeads {
  at::Tensor query;  // [tokens, heads, head_dim], rotated
  at::Tensor key;    // [tokens, kv_heads, head_dim], rotated
  at::Tensor value;  // [tokens, kv_heads, head_dim]
};

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

std::vector<SequenceRows> packed_rows(const std::vector<int64_t>& lengths,
                                      const std::vector<int64_t>& prefixes) {
  TORCH_CHECK(prefixes.empty() || prefixes.size() == lengths.size(),
              "packed_attention: a prefix (or -1) for each sequence");
  std::vector<SequenceRows> places;
  int64_t row = 0;
  for (size_t i = 0; i < lengths.size(); ++i) {
    SequenceRows place{.begin = row, .rows = lengths[i]};
    if (!prefixes.empty() && prefixes[i] >= 0) {
      TORCH_CHECK(prefixes[i] < static_cast<int64_t>(i) && prefixes[prefixes[i]] < 0,
                  "packed_attention: sequence ", i, " cannot continue sequence ", prefixes[i]);
      place.prefix_begin = places[prefixes[i]].begin;
      place.prefix_rows = places[prefixes[i]].rows;
    }
    places.push_back(place);
    row += lengths[i];
  }
  return places;
}

struct PackedOutput {
  at::Tensor out;                     // [tokens, heads, head_dim]
  std::vector<at::Tensor> logsumexp;  // per sequence
};

// What a sequence's rows see: their own keys, or those of the sequence that they continue as well.
at::Tensor seen_by(const at::Tensor& x, const SequenceRows& place) {
  const at::Tensor own = x.narrow(0, place.begin, place.rows);
  if (place.prefix_rows == 0) return own;
  return at::cat({x.narrow(0, place.prefix_begin, place.prefix_rows), own});
}

// The same where gradients come back through autograd: a prefix that is in `shared` already (by
// its first row) is taken from there, so that what its sequences give it is summed in one place, in
// fp32 at least, and rounded once.
at::Tensor seen_by(const at::Tensor& x, const SequenceRows& place,
                   std::map<int64_t, at::Tensor>& shared) {
  const at::Tensor own = x.narrow(0, place.begin, place.rows);
  if (place.prefix_rows == 0) return own;
  const auto [entry, fresh] = shared.try_emplace(place.prefix_begin);
  if (fresh) {
    entry->second =
        x.narrow(0, place.prefix_begin, place.prefix_rows).to(at::toOpMathType(x.scalar_type()));
  }
  return at::cat({entry->second.to(x.scalar_type()), own});
}

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
                            const PrefixMasks& masks) {
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
        /*is_causal=*/!mask, mask);
    queries_by_group(result.out, place.begin, place.rows, kv_heads).copy_(out);
    result.logsumexp.push_back(logsumexp);
  }
  return result;
}

PackedHeads attend_backward(const PackedHeads& heads, const PackedOutput& forward,
                            const at::Tensor& dy, const std::vector<SequenceRows>& places,
                            const PrefixMasks& masks) {
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
        /*dropout_p=*/0.0, /*is_causal=*/!mask, mask);
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
                                 const VarlenPlan& plan) {
  const QueryKeyValue heads = split(qkv, positions, table, shape);
  return varlen_attention(heads.query, heads.key, heads.value, plan);
}

at::Tensor plain_self_attention(const at::Tensor& qkv, const at::Tensor& positions,
                                const RopeTable& table, const HeadShape& shape,
                                const std::vector<SequenceRows>& places, const PrefixMasks& masks) {
  PackedHeads heads;
  PackedOutput result;
  {
    const c10::AutoGradMode no_grad(false);
    const QueryKeyValue parts = split(qkv.detach(), positions, table, shape);
    heads = {.query = parts.query.contiguous(),
             .key = parts.key.contiguous(),
             .value = parts.value.contiguous()};
    result = attend_forward(heads, places, masks);
  }
  const at::Tensor y = result.out.flatten(1);
  if (!differentiable({qkv})) return y;
  return with_backward(
      y, {qkv}, "PackedSelfAttentionBackward",
      [heads, result, places, masks, positions, table](const at::Tensor& dy) {
        const RopeTable inverse{.cosines = table.cosines, .sines = table.sines.neg()};
        const PackedHeads gradients = attend_backward(
            heads, result, dy.unflatten(1, heads.query.sizes().slice(1)), places, masks);
        return torch::autograd::variable_list{at::cat(
            {rotate(gradients.query, positions, inverse).flatten(1),
             rotate(gradients.key, positions, inverse).flatten(1), gradients.value.flatten(1)},
            1)};
      });
}

// Keeps the projection as it is instead of rotated heads.
at::Tensor fused_self_attention(const at::Tensor& qkv, const at::Tensor& positions,
                                const RopeTable& table, const HeadShape& shape,
                                const std::vector<SequenceRows>& places) {
  const at::Tensor input = qkv.detach().contiguous();
  const bool differentiates = differentiable({qkv});
  const AttentionOutput result =
      fused_attention(input, positions, table, shape, places, differentiates);
  if (!differentiates) return result.out;
  const at::Tensor y = result.out.detach();  // the node keeps `out`, and `y` the node
  return with_backward(y, {qkv}, "FusedSelfAttentionBackward",
                       [input, result, places, positions, table, shape](const at::Tensor& dy) {
                         return torch::autograd::variable_list{fused_attention_backward(
                             input, positions, table, shape, places, result, dy)};
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
                                 const std::vector<int64_t>& prefixes, const AttentionPlan& given) {
  if (fused_attention_fits(qkv.options(), shape)) {
    return fused_self_attention(qkv, positions, table, shape, packed_rows(lengths, prefixes));
  }
  const AttentionPlan plan =
      given.made ? given : attention_plan(lengths, prefixes, qkv.options(), shape);
  return qkv.is_cpu() ? plain_self_attention(qkv, positions, table, shape,
                                             packed_rows(lengths, prefixes), plan.masks)
                      : varlen_self_attention(qkv, positions, table, shape, plan.varlen);
}

at::Tensor packed_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                            const std::vector<int64_t>& lengths,
                            const std::vector<int64_t>& prefixes) {
  const bool grouped = query.size(1) != key.size(1);
  const std::vector<SequenceRows> places = packed_rows(lengths, prefixes);
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
        /*is_causal=*/true,
        /*scale=*/std::nullopt, /*enable_gqa=*/grouped));
    outputs.push_back(place.prefix_rows == 0 ? output
                                             : output.narrow(0, place.prefix_rows, place.rows));
  }
  return outputs.size() == 1 ? outputs[0] : at::cat(outputs);
}

at::Tensor cached_attention_plain(const at::Tensor& query, const CachedLayer& layer,
                                  const std::vector<int64_t>& lengths) {
  const bool grouped = query.size(1) != layer.keys.size(1);
  std::vector<at::Tensor> outputs;
  int64_t row = 0;
  for (size_t i = 0; i < lengths.size(); ++i) {
    const int64_t past = (*layer.past)[i];
    const int64_t total = past + lengths[i];
    const at::Tensor keys =
        layer.keys.select(0, (*layer.slots)[i]).narrow(1, 0, total).unsqueeze(0);
    const at::Tensor values =
        layer.values.select(0, (*layer.slots)[i]).narrow(1, 0, total).unsqueeze(0);
    const at::Tensor columns = at::arange(total).unsqueeze(0);
    const at::Tensor mask = columns.le(at::arange(past, total).unsqueeze(1)).to(query.device());
    outputs.push_back(rows_first(
        at::scaled_dot_product_attention(heads_first(query.narrow(0, row, lengths[i])), keys,
                                         values, mask, /*dropout_p=*/0.0, /*is_causal=*/false,
                                         /*scale=*/std::nullopt, /*enable_gqa=*/grouped)));
    row += lengths[i];
  }
  return at::cat(outputs);
}

// One row of each sequence, all sequences in one call. The query heads of a key head stand as rows
// of one sequence: that needs no copies of the keys, and LibTorch's fused attention takes it.
at::Tensor cached_attention_of_one_row(const at::Tensor& query, const CachedLayer& layer) {
  const int64_t seen = layer.visible.size(1), kv_heads = layer.keys.size(1);
  const auto seen_rows = [&](const at::Tensor& cache) {
    return layer.slot_index.defined() ? cache.narrow(2, 0, seen).index_select(0, layer.slot_index)
                                      : cache;
  };
  const at::Tensor groups =
      query.reshape({query.size(0), kv_heads, query.size(1) / kv_heads, query.size(2)});
  const at::Tensor keys = seen_rows(layer.keys), values = seen_rows(layer.values);
  const at::Tensor visible = layer.visible.unsqueeze(1).unsqueeze(1).expand(
      {groups.size(0), kv_heads, groups.size(2), seen});
  const bool fused = query.is_cuda() && query.scalar_type() != at::kDouble;
  const at::Tensor out = fused ? std::get<0>(at::_scaled_dot_product_efficient_attention(
                                     groups, keys, values, visible, /*compute_log_sumexp=*/false))
                               : at::scaled_dot_product_attention(groups, keys, values, visible);
  return out.flatten(1);
}

at::Tensor cached_attention(const at::Tensor& query, const CachedLayer& layer,
                            const std::vector<int64_t>& lengths) {
  if (!query.is_cpu() && layer.visible.defined() &&
      std::ranges::all_of(lengths, [](int64_t length) { return length == 1; })) {
    return cached_attention_of_one_row(query, layer);
  }
  if (query.scalar_type() != at::kFloat || !query.is_cpu())
    return cached_attention_plain(query, layer, lengths);
  const std::vector<RowOfBatch> rows = rows_of_batch(layer, lengths);
  const int64_t heads = query.size(1);
  const int64_t head_dim = query.size(2);
  const int64_t kv_heads = layer.keys.size(1);
  const int64_t capacity = layer.keys.size(2);
  const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim)));
  const at::Tensor q = query.contiguous();
  at::Tensor out = at::empty({query.size(0), heads * head_dim}, query.options());
  const float* pq = q.const_data_ptr<float>();
  const float* pk = layer.keys.const_data_ptr<float>();
  const float* pv = layer.values.const_data_ptr<float>();
  float* po = out.mutable_data_ptr<float>();
  RECORD_USER_SCOPE("leash::cached_attention");
  at::parallel_for(0, static_cast<int64_t>(rows.size()) * heads, /*grain_size=*/4,
                   [&](int64_t begin, int64_t end) {
                     std::vector<float> scores(capacity);
                     for (int64_t item = begin; item < end; ++item) {
                       const RowOfBatch& row = rows[item / heads];
                       const int64_t kv_head = (item % heads) * kv_heads / heads;
                       const int64_t offset = (row.slot * kv_heads + kv_head) * capacity * head_dim;
                       kernels::attend(pq + item * head_dim, pk + offset, pv + offset, row.visible,
                                       head_dim, scale, scores.data(), po + item * head_dim);
                     }
                   });
  return out;
}

}  // namespace leash
