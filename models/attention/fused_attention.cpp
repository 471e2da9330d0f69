#include "models/attention/fused_attention.h"

#include <ATen/ops/empty.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <cmath>

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

int64_t prefix_vectors(const SequenceRows& place) { return pieces_of(place.prefix_rows, kLanes); }

// Numbers of scratch: keys transposed, values, scores of a group of rows, its queries and results.
int64_t scratch_of(const AttentionUnit& unit, int64_t n) {
  const int64_t keys = (prefix_vectors(unit.place) + pieces_of(unit.end, kLanes)) * kLanes;
  return keys * 2 * n + kRows * (keys + 2 * n);
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

// The vectors of keys that a group of rows sees, of `before` of the prefix and `own` of the
// sequence. A window that reaches the prefix reaches all of the sequence: the rest is one piece.
struct Span {
  Span(const SequenceRows& place, int64_t row, int64_t rows, int64_t window)
      : before(prefix_vectors(place)), own(pieces_of(row + rows, kLanes)) {
    const FirstKeys first = first_keys(place, row, window);
    skipped =
        first.prefix < place.prefix_rows ? first.prefix / kLanes : before + first.own / kLanes;
    prefix_from = std::min(skipped, before) * kLanes;
    own_from = std::max<int64_t>(skipped - before, 0) * kLanes;
  }
  int64_t before, own;
  int64_t skipped;                // vectors
  int64_t prefix_from, own_from;  // keys
};

// Scores of one row, from `span`'s first key on, become weights; returns their sum's reciprocal.
LEASH_INLINE float weigh_row(const AttentionSource& s, const SequenceRows& place, int64_t head,
                             int64_t row, const Span& span, float* scores, float* logsumexp) {
  float* of_prefix = scores + span.prefix_from;
  float* of_own = scores + span.before * kLanes + span.own_from;
  const int64_t prefix_rows = place.prefix_rows - span.prefix_from;
  const int64_t visible = row + 1 - span.own_from;
  const int64_t prefix_count = span.before - span.prefix_from / kLanes;
  const int64_t own_count = span.own - span.own_from / kLanes;
  if (s.changes()) {
    const int64_t at = place.prefix_rows + row;
    change_scores(of_prefix, prefix_count, s.change(head), span.prefix_from - at);
    change_scores(of_own, own_count, s.change(head), place.prefix_rows + span.own_from - at);
  }
  const FirstKeys first = first_keys(place, row, s.window);
  const int64_t first_prefix = first.prefix - span.prefix_from,
                first_own = first.own - span.own_from;
  Floats by_lane = Floats{} - INFINITY, sum = {};
  largest_scores(of_prefix, first_prefix, prefix_rows, by_lane);
  largest_scores(of_own, first_own, visible, by_lane);
  const float largest = largest_of(by_lane);
  weigh_scores(of_prefix, first_prefix, prefix_rows, prefix_count, largest, sum);
  weigh_scores(of_own, first_own, visible, own_count, largest, sum);
  const float whole = sum_of(sum);
  if (logsumexp != nullptr) *logsumexp = largest + std::log(whole);
  return 1.0f / whole;
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
LEASH_AVX512 void attend_rows(const AttentionSource& s, const AttentionUnit& unit, int64_t head,
                              int64_t row, const float* keys, const float* values, float* scores,
                              float* query, float* sums, const Results& results) {
  const int64_t n = s.head_dim, vectors_of_head = n / kLanes;
  const SequenceRows& place = unit.place;
  const int64_t rows = std::min(kRows, unit.end - row);
  read_query_rows(s, unit, head, row, rows, query, results);
  const Span span(place, row, rows, s.window);
  const int64_t stride = (span.before + span.own) * kLanes;
  multiply({query, n, 1}, {keys + span.skipped * kLanes * n, kLanes, n * kLanes}, n,
           span.before + span.own - span.skipped, /*add=*/false, scores + span.skipped * kLanes,
           stride);
  float inverse[kRows];
  for (int64_t r = 0; r < rows; ++r) {
    float* logsumexp = results.logsumexp == nullptr
                           ? nullptr
                           : results.logsumexp + (place.begin + row + r) * s.heads + head;
    inverse[r] = weigh_row(s, place, head, row + r, span, scores + r * stride, logsumexp);
  }
  const bool sees_prefix = span.prefix_from < place.prefix_rows;
  if (sees_prefix) {
    multiply({scores + span.prefix_from, stride, 1}, {values + span.prefix_from * n, n, kLanes},
             place.prefix_rows - span.prefix_from, vectors_of_head, /*add=*/false, sums, n);
  }
  const int64_t own_at = span.before * kLanes + span.own_from;
  multiply({scores + own_at, stride, 1}, {values + own_at * n, n, kLanes},
           row + rows - span.own_from, vectors_of_head, /*add=*/sees_prefix, sums, n);
  for (int64_t r = 0; r < rows; ++r) {
    float* out = results.out + ((place.begin + row + r) * s.heads + head) * n;
    for (int64_t i = 0; i < n; i += kLanes) {
      Floats x;
      load(sums + r * n + i, x);
      store(x * inverse[r], out + i);
    }
  }
}

void attend(const AttentionSource& s, const AttentionUnit& unit, float* scratch,
            const Results& results) {
  const int64_t n = s.head_dim, group = s.heads / s.kv_heads;
  const int64_t before = prefix_vectors(unit.place) * kLanes;
  const int64_t all = before + pieces_of(unit.end, kLanes) * kLanes;
  float* keys = scratch;
  float* values = keys + all * n;
  float* query = values + all * n;
  float* sums = query + kRows * n;
  float* scores = sums + kRows * n;
  // Those two together have room for a vector of rotated keys.
  const FirstKeys first = first_keys(unit.place, unit.begin, s.window);
  pack(s, unit.kv_head, unit.place.prefix_begin, first.prefix, unit.place.prefix_rows, query, keys,
       values);
  pack(s, unit.kv_head, unit.place.begin, first.own, unit.end, query, keys + before * n,
       values + before * n);
  // A row's heads lie side by side: one after the other, and the next one is fetched meanwhile.
  for (int64_t row = unit.begin; row < unit.end; row += kRows) {
    for (int64_t head = unit.kv_head * group; head < (unit.kv_head + 1) * group; ++head)
      attend_rows(s, unit, head, row, keys, values, scores, query, sums, results);
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
