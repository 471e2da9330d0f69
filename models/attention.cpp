#include "models/attention.h"

#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include <cmath>
#include <optional>

#include "models/kernels.h"

namespace leash {
namespace {

// [rows, heads, head_dim] -> [1, heads, rows, head_dim] and back to [rows, heads · head_dim].
at::Tensor heads_first(const at::Tensor& x) { return x.transpose(0, 1).unsqueeze(0); }
at::Tensor rows_first(const at::Tensor& x) { return x.squeeze(0).transpose(0, 1).flatten(1); }

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

// Where a sequence's rows are, and those of the sequence that it continues.
struct PackedRows {
  int64_t begin = 0;
  int64_t rows = 0;
  int64_t prefix_begin = 0;
  int64_t prefix_rows = 0;  // 0: it continues none
};

std::vector<PackedRows> packed_rows(const std::vector<int64_t>& lengths,
                                    const std::vector<int64_t>& prefixes) {
  TORCH_CHECK(prefixes.empty() || prefixes.size() == lengths.size(),
              "packed_attention: a prefix (or -1) for each sequence");
  std::vector<PackedRows> places;
  int64_t row = 0;
  for (size_t i = 0; i < lengths.size(); ++i) {
    PackedRows place{.begin = row, .rows = lengths[i]};
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

// The prefix's rows stand before the sequence's own, queries included: their results are dropped,
// which costs less than a mask.
at::Tensor rows_of(const at::Tensor& x, const PackedRows& place) {
  const at::Tensor own = x.narrow(0, place.begin, place.rows);
  if (place.prefix_rows == 0) return own;
  return at::cat({x.narrow(0, place.prefix_begin, place.prefix_rows), own});
}

}  // namespace

at::Tensor packed_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                            const std::vector<int64_t>& lengths,
                            const std::vector<int64_t>& prefixes) {
  const bool grouped = query.size(1) != key.size(1);
  const std::vector<PackedRows> places = packed_rows(lengths, prefixes);
  std::vector<at::Tensor> outputs;
  outputs.reserve(places.size());
  for (const PackedRows& place : places) {
    const at::Tensor output = rows_first(at::scaled_dot_product_attention(
        heads_first(rows_of(query, place)), heads_first(rows_of(key, place)),
        heads_first(rows_of(value, place)), /*attn_mask=*/std::nullopt, /*dropout_p=*/0.0,
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

at::Tensor cached_attention(const at::Tensor& query, const CachedLayer& layer,
                            const std::vector<int64_t>& lengths) {
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
