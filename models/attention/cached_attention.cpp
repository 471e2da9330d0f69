#include "models/attention/cached_attention.h"

#include <ATen/Parallel.h>
#include <ATen/ops/_scaled_dot_product_efficient_attention.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/zeros.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <optional>

#include "models/attention/ruled_attention.h"
#include "models/kernels/kernels.h"

namespace leash {
namespace {

// Rows of one sequence in the packed batch, and the cache slot that they see.
struct RowOfBatch {
  int64_t slot = 0;
  int64_t first = 0;    // cached position that this row attends to first
  int64_t visible = 0;  // and how many from there on, itself included
};

std::vector<RowOfBatch> rows_of_batch(const CachedLayer& layer, const std::vector<int64_t>& lengths,
                                      int64_t window) {
  std::vector<RowOfBatch> rows;
  for (size_t i = 0; i < lengths.size(); ++i) {
    for (int64_t j = 0; j < lengths[i]; ++j) {
      const int64_t end = (*layer.past)[i] + j + 1;
      const int64_t first = window > 0 ? std::max<int64_t>(end - window, 0) : 0;
      rows.push_back({.slot = (*layer.slots)[i], .first = first, .visible = end - first});
    }
  }
  return rows;
}

// One row of each sequence, all sequences in one call. The query heads of a key head stand as rows
// of one sequence: that needs no copies of the keys, and LibTorch's fused attention takes it.
at::Tensor cached_attention_of_one_row(const at::Tensor& query, const CachedLayer& layer,
                                       const AttentionRule& rule) {
  const int64_t seen = layer.visible.size(1), kv_heads = layer.keys.size(1);
  const auto seen_rows = [&](const at::Tensor& cache) {
    return layer.slot_index.defined() ? cache.narrow(2, 0, seen).index_select(0, layer.slot_index)
                                      : cache;
  };
  const at::Tensor keys = seen_rows(layer.keys), values = seen_rows(layer.values);
  if (!rule.only_scaled())
    return ruled_next_rows(query, keys, values, layer.visible, layer.past_index, rule);
  const at::Tensor groups =
      query.reshape({query.size(0), kv_heads, query.size(1) / kv_heads, query.size(2)});
  const at::Tensor visible = layer.visible.unsqueeze(1).unsqueeze(1).expand(
      {groups.size(0), kv_heads, groups.size(2), seen});
  const bool fused = query.is_cuda() && query.scalar_type() != at::kDouble;
  const std::optional<double> scale = rule.given_scale();
  const at::Tensor out =
      fused ? std::get<0>(at::_scaled_dot_product_efficient_attention(
                  groups, keys, values, visible, /*compute_log_sumexp=*/false, /*dropout_p=*/0.0,
                  /*is_causal=*/false, scale))
            : at::scaled_dot_product_attention(groups, keys, values, visible, /*dropout_p=*/0.0,
                                               /*is_causal=*/false, scale);
  return out.flatten(1);
}

}  // namespace

at::Tensor cached_attention_plain(const at::Tensor& query, const CachedLayer& layer,
                                  const std::vector<int64_t>& lengths, const AttentionRule& rule) {
  const bool grouped = query.size(1) != layer.keys.size(1);
  std::vector<at::Tensor> outputs;
  int64_t row = 0;
  for (size_t i = 0; i < lengths.size(); ++i) {
    const int64_t past = (*layer.past)[i];
    const int64_t total = past + lengths[i];
    const at::Tensor queries = query.narrow(0, row, lengths[i]);
    const at::Tensor keys = layer.keys.select(0, (*layer.slots)[i]).narrow(1, 0, total);
    const at::Tensor values = layer.values.select(0, (*layer.slots)[i]).narrow(1, 0, total);
    row += lengths[i];
    if (!rule.only_scaled()) {
      outputs.push_back(ruled_last_rows(queries, keys, values, rule));
      continue;
    }
    const at::Tensor columns = at::arange(total).unsqueeze(0);
    const at::Tensor mask = columns.le(at::arange(past, total).unsqueeze(1)).to(query.device());
    outputs.push_back(at::scaled_dot_product_attention(queries.transpose(0, 1).unsqueeze(0),
                                                       keys.unsqueeze(0), values.unsqueeze(0), mask,
                                                       /*dropout_p=*/0.0, /*is_causal=*/false,
                                                       rule.given_scale(), /*enable_gqa=*/grouped)
                          .squeeze(0)
                          .transpose(0, 1)
                          .flatten(1));
  }
  return at::cat(outputs);
}

at::Tensor cached_attention(const at::Tensor& query, const CachedLayer& layer,
                            const std::vector<int64_t>& lengths, const AttentionRule& rule) {
  if (!query.is_cpu() && layer.visible.defined() &&
      std::ranges::all_of(lengths, [](int64_t length) { return length == 1; })) {
    return cached_attention_of_one_row(query, layer, rule);
  }
  const bool fits = !rule.slopes.defined() || !rule.bfloat16_bias;
  if (query.scalar_type() != at::kFloat || !query.is_cpu() || !fits)
    return cached_attention_plain(query, layer, lengths, rule);
  const std::vector<RowOfBatch> rows = rows_of_batch(layer, lengths, rule.window);
  const int64_t heads = query.size(1);
  const int64_t head_dim = query.size(2);
  const int64_t kv_heads = layer.keys.size(1);
  const int64_t capacity = layer.keys.size(2);
  const auto scale = static_cast<float>(rule.scale_for(head_dim));
  const auto softcap = static_cast<float>(rule.softcap);
  const at::Tensor slopes = rule.slopes.defined() ? rule.slopes.contiguous() : at::zeros({heads});
  const float* slope = slopes.const_data_ptr<float>();
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
                       const int64_t offset =
                           ((row.slot * kv_heads + kv_head) * capacity + row.first) * head_dim;
                       kernels::attend(pq + item * head_dim, pk + offset, pv + offset, row.visible,
                                       head_dim, scale, scores.data(), po + item * head_dim,
                                       {.softcap = softcap, .slope = slope[item % heads]});
                     }
                   });
  return out;
}

}  // namespace leash
