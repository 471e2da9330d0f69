#include "models/attention/fused_attention.h"

#include <ATen/ops/empty.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <cmath>

#include "models/attention/attention_rows.h"
#include "models/attention/attention_source.h"
#include "models/attention/attention_tiles.h"

namespace leash {
namespace {

using namespace attention_tiles;  // NOLINT: internal to these files

constexpr int64_t kFewestRows = 64;  // of a part: below, packing its keys again costs too much

struct Results {
  float* out = nullptr;        // [tokens, heads · head_dim]
  float* logsumexp = nullptr;  // [tokens, heads], nullptr: not wanted
};

// Keys of a prefix, or of a sequence, in whole vectors.
int64_t whole(int64_t keys) { return pieces_of(keys, kLanes) * kLanes; }

// Numbers of scratch: keys transposed, values, a group of rows' queries, results and scores.
int64_t scratch_of(const AttentionUnit& unit, int64_t n) {
  const int64_t prefix = unit.place.prefix_rows, keys = whole(prefix) + whole(unit.end);
  return keys * n + (prefix + whole(unit.end)) * n + kRows * (2 * n + keys + 3 * kLanes);
}

// Rotated keys as [vectors][head_dim][kLanes], values as rows; those from key `first` on, which are
// needed.
LEASH_AVX512 void pack(const AttentionSource& s, int64_t kv_head, int64_t begin, int64_t first,
                       int64_t count, float* rotated, float* keys, float* values) {
  const int64_t n = s.head_dim;
  for (int64_t at = first / kLanes * kLanes; at < count; at += kLanes) {
    const int64_t rows = std::min(kLanes, count - at);
    rotate_keys(s, kv_head, begin + at, rows, begin + count, rotated);
    for (int64_t r = 0; r < rows; ++r) {
      std::memcpy(values + (at + r) * n, s.value(begin + at + r, kv_head),
                  static_cast<size_t>(n) * sizeof(float));
    }
    transpose_rows(rotated, n, rows, n, keys + at * n);
  }
}

// Queries of up to kRows rows, rotated and scaled, and zeros up to kRows.
LEASH_INLINE void read_query_rows(const AttentionSource& s, const AttentionUnit& unit, int64_t head,
                                  int64_t row, int64_t rows, float* query, const Results& results) {
  const int64_t n = s.head_dim, group = s.heads / s.kv_heads;
  const bool last = (head + 1) % group == 0;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t at = unit.place.begin + row + r;
    fetch_to_write(results.out + (at * s.heads + head) * n, n);
    if (!last) {
      fetch(s.query(at, head + 1), n);
    } else if (row + kRows + r < unit.end) {
      fetch(s.query(at + kRows, unit.kv_head * group), n);
    }
    rotate(s.query(at, head), s.cosines_of(at), s.sines_of(at), 1.0f, s.scale, s.half, n,
           query + r * n);
  }
  std::memset(query + rows * n, 0, static_cast<size_t>((kRows - rows) * n) * sizeof(float));
}

// Up to kRows rows of one query head.
LEASH_AVX512 void attend_head(const AttentionSource& s, const AttentionUnit& unit, int64_t head,
                              int64_t row, const SeenKeys& keys, float* scores, float* query,
                              float* sums, const Results& results) {
  const int64_t n = s.head_dim;
  QueryRows rows{.queries = query,
                 .rows = std::min(kRows, unit.end - row),
                 .place = unit.place.prefix_rows + row};
  read_query_rows(s, unit, head, row, rows.rows, query, results);
  std::fill_n(rows.changes, kRows, s.change(head));
  const RowWeights weights = attend_rows(keys, rows, s.changes(), scores, sums);
  for (int64_t r = 0; r < rows.rows; ++r) {
    const int64_t at = (unit.place.begin + row + r) * s.heads + head;
    if (results.logsumexp != nullptr) results.logsumexp[at] = weights.logsumexp[r];
    write_row(sums + r * n, weights.inverse[r], n, results.out + at * n);
  }
}

void attend(const AttentionSource& s, const AttentionUnit& unit, float* scratch,
            const Results& results) {
  const int64_t n = s.head_dim, group = s.heads / s.kv_heads, prefix = unit.place.prefix_rows;
  float* keys = scratch;
  float* values = keys + (whole(prefix) + whole(unit.end)) * n;
  float* query = values + (prefix + whole(unit.end)) * n;
  float* sums = query + kRows * n;
  float* scores = sums + kRows * n;
  // Those two together have room for a vector of rotated keys.
  const FirstKeys first = first_keys(unit.place, unit.begin, s.window);
  pack(s, unit.kv_head, unit.place.prefix_begin, first.prefix, prefix, query, keys, values);
  pack(s, unit.kv_head, unit.place.begin, first.own, unit.end, query, keys + whole(prefix) * n,
       values + prefix * n);
  const SeenKeys seen{.pieces = {{keys, prefix}, {keys + whole(prefix) * n, unit.end}},
                      .values = values,
                      .window = s.window,
                      .head_dim = n};
  // A row's heads lie side by side: one after the other, and the next one is fetched meanwhile.
  for (int64_t row = unit.begin; row < unit.end; row += kRows) {
    for (int64_t head = unit.kv_head * group; head < (unit.kv_head + 1) * group; ++head)
      attend_head(s, unit, head, row, seen, scores, query, sums, results);
  }
}

// Parts small enough for all threads, but not so small that packing shows.
std::vector<AttentionUnit> units_of(const std::vector<SequenceRows>& places, int64_t kv_heads,
                                    int64_t window) {
  const auto cost_of = [window](const SequenceRows& place) {
    return AttentionUnit{.place = place, .end = place.rows, .window = window}.cost();
  };
  int64_t cost = 0;
  for (const SequenceRows& place : places) cost += kv_heads * cost_of(place);
  const int64_t wanted = std::max<int64_t>(cost / (4 * at::get_num_threads()), 1);
  std::vector<AttentionUnit> units;
  for (const SequenceRows& place : places) {
    const std::vector<int64_t> begins =
        split_rows(place, window, pieces_of(cost_of(place), wanted), kFewestRows);
    for (size_t part = 0; part + 1 < begins.size(); ++part) {
      for (int64_t kv_head = 0; kv_head < kv_heads; ++kv_head) {
        units.push_back({.place = place,
                         .kv_head = kv_head,
                         .begin = begins[part],
                         .end = begins[part + 1],
                         .window = window});
      }
    }
  }
  return units;
}

}  // namespace

bool fused_attention_fits(const at::TensorOptions& options, const HeadShape& shape,
                          const AttentionRule& rule) {
  return options.device().is_cpu() && options.dtype() == at::kFloat &&
         shape.head_dim % kLanes == 0 && !(rule.slopes.defined() && rule.bfloat16_bias) &&
         product_tile::has_avx512();
}

AttentionOutput fused_attention(const at::Tensor& qkv, const at::Tensor& positions,
                                const RopeTable& table, const HeadShape& shape,
                                const std::vector<SequenceRows>& places, bool keep_logsumexp,
                                const AttentionRule& rule) {
  RECORD_USER_SCOPE("leash::fused_attention");
  const AttentionSource source(qkv, positions, table, shape, rule);
  const at::TensorOptions options = qkv.options().requires_grad(false);
  AttentionOutput result{.out = at::empty({qkv.size(0), source.heads * source.head_dim}, options),
                         .logsumexp = {}};
  if (keep_logsumexp) result.logsumexp = at::empty({qkv.size(0), source.heads}, options);
  const Results results{
      .out = result.out.mutable_data_ptr<float>(),
      .logsumexp = keep_logsumexp ? result.logsumexp.mutable_data_ptr<float>() : nullptr};
  const std::vector<AttentionUnit> units = units_of(places, source.kv_heads, source.window);
  int64_t scratch = 0;
  for (const AttentionUnit& unit : units)
    scratch = std::max(scratch, scratch_of(unit, source.head_dim));
  for_each_unit(units, scratch, [&](const AttentionUnit& unit, float* memory) {
    attend(source, unit, memory, results);
  });
  return result;
}

}  // namespace leash
