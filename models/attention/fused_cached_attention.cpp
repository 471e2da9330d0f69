#include "models/attention/fused_cached_attention.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <cstring>

#include "models/attention/attention_rows.h"
#include "models/attention/attention_source.h"

namespace leash {
namespace {

using namespace attention_tiles;  // NOLINT: internal to these files

constexpr int64_t kFewestCachedRows =
    64;  // of a part: below, turning its keys again costs too much

// Rows of a sequence; those before it in the cache count as its prefix.
struct CachedUnit : AttentionUnit {
  int64_t slot = 0;
};

struct Cached {
  AttentionSource source;
  const float* keys = nullptr;    // [slots, kv_heads, capacity, head_dim]
  const float* values = nullptr;  // likewise
  int64_t capacity = 0;
  float* out = nullptr;  // [tokens, heads · head_dim]

  int64_t head_of(const CachedUnit& unit) const {
    return (unit.slot * source.kv_heads + unit.kv_head) * capacity * source.head_dim;
  }
};

int64_t cached_keys(const CachedUnit& unit) { return unit.place.prefix_rows + unit.end; }

int64_t scratch_of(const CachedUnit& unit, int64_t n) {
  const int64_t keys = pieces_of(cached_keys(unit), kLanes) * kLanes;
  return keys * n + kRows * (2 * n + keys + 3 * kLanes);
}

// The keys that the unit sees, turned.
LEASH_AVX512 void turn_keys(const float* keys, int64_t first, int64_t count, int64_t n,
                            float* turned) {
  for (int64_t at = first / kLanes * kLanes; at < count; at += kLanes)
    transpose_rows(keys + at * n, n, std::min(kLanes, count - at), n, turned + at * n);
}

LEASH_AVX512 void rotate_key(const AttentionSource& s, int64_t kv_head, int64_t row, float* key) {
  rotate(s.key(row, kv_head), s.cosines_of(row), s.sines_of(row), 1.0f, 1.0f, s.half, s.head_dim,
         key);
}

LEASH_AVX512 void read_query(const AttentionSource& s, int64_t row, int64_t head, float* query) {
  rotate(s.query(row, head), s.cosines_of(row), s.sines_of(row), 1.0f, s.scale, s.half, s.head_dim,
         query);
}

// Rows [row, row + rows) × heads [head, head + heads) of a sequence, one of the two being 1 and the
// other at most kRows.
LEASH_AVX512 void attend_few(const Cached& c, const CachedUnit& unit, const SeenKeys& keys,
                             int64_t row, int64_t rows, int64_t head, int64_t heads, float* query,
                             float* sums, float* scores) {
  const AttentionSource& s = c.source;
  const int64_t n = s.head_dim, count = rows * heads;
  QueryRows few{.queries = query,
                .rows = count,
                .place = unit.place.prefix_rows + row,
                .step = heads > 1 ? 0 : 1};
  const auto at = [&](int64_t i) { return unit.place.begin + row + (heads > 1 ? 0 : i); };
  const auto head_at = [&](int64_t i) { return head + (heads > 1 ? i : 0); };
  for (int64_t i = 0; i < count; ++i) {
    read_query(s, at(i), head_at(i), query + i * n);
    few.changes[i] = s.change(head_at(i));
  }
  std::memset(query + count * n, 0, static_cast<size_t>((kRows - count) * n) * sizeof(float));
  const RowWeights weights = attend_rows(keys, few, s.changes(), scores, sums);
  for (int64_t i = 0; i < count; ++i)
    write_row(sums + i * n, weights.inverse[i], n, c.out + (at(i) * s.heads + head_at(i)) * n);
}

void attend_cached(const Cached& c, const CachedUnit& unit, float* scratch) {
  const AttentionSource& s = c.source;
  const int64_t n = s.head_dim, group = s.heads / s.kv_heads, count = cached_keys(unit);
  float* turned = scratch;
  float* query = turned + pieces_of(count, kLanes) * kLanes * n;
  float* sums = query + kRows * n;
  float* scores = sums + kRows * n;
  const SeenKeys keys{.pieces = {{}, {turned, count}},
                      .values = c.values + c.head_of(unit),
                      .window = s.window,
                      .head_dim = n};
  turn_keys(c.keys + c.head_of(unit), keys.first(unit.place.prefix_rows + unit.begin), count, n,
            turned);
  const int64_t first = unit.kv_head * group, end = first + group;
  if (unit.end - unit.begin == 1) {
    for (int64_t head = first; head < end; head += kRows) {
      attend_few(c, unit, keys, unit.begin, 1, head, std::min(kRows, end - head), query, sums,
                 scores);
    }
    return;
  }
  for (int64_t row = unit.begin; row < unit.end; row += kRows) {
    for (int64_t head = first; head < end; ++head) {
      attend_few(c, unit, keys, row, std::min(kRows, unit.end - row), head, 1, query, sums, scores);
    }
  }
}

std::vector<CachedUnit> cached_units(const CachedLayer& layer, const std::vector<int64_t>& lengths,
                                     int64_t kv_heads, int64_t window) {
  std::vector<CachedUnit> units;
  int64_t row = 0;
  for (size_t i = 0; i < lengths.size(); ++i) {
    const SequenceRows place{
        .begin = row, .rows = lengths[i], .prefix_begin = 0, .prefix_rows = (*layer.past)[i]};
    row += lengths[i];
    if (place.rows == 0) continue;
    const int64_t parts = std::min<int64_t>(4 * at::get_num_threads(), place.rows);
    const std::vector<int64_t> begins = split_rows(place, window, parts, kFewestCachedRows);
    for (size_t part = 0; part + 1 < begins.size(); ++part) {
      for (int64_t kv_head = 0; kv_head < kv_heads; ++kv_head) {
        units.push_back({{.place = place,
                          .kv_head = kv_head,
                          .begin = begins[part],
                          .end = begins[part + 1],
                          .window = window},
                         (*layer.slots)[i]});
      }
    }
  }
  return units;
}

}  // namespace

NewKeys new_keys(const at::Tensor& qkv, const at::Tensor& positions, const RopeTable& table,
                 const HeadShape& shape) {
  const AttentionSource source(qkv, positions, table, shape, {});
  const int64_t rows = qkv.size(0), n = shape.head_dim, width = shape.num_kv_heads * n;
  const at::Tensor values =
      qkv.narrow(1, shape.num_heads * n + width, width).unflatten(1, {shape.num_kv_heads, n});
  const at::Tensor keys = at::empty({rows, shape.num_kv_heads, n}, qkv.options());
  float* const out = keys.mutable_data_ptr<float>();
  at::parallel_for(0, rows, /*grain_size=*/64, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t head = 0; head < shape.num_kv_heads; ++head)
        rotate_key(source, head, row, out + row * width + head * n);
    }
  });
  return {.keys = keys, .values = values};
}

at::Tensor fused_cached_attention(const at::Tensor& qkv, const at::Tensor& positions,
                                  const RopeTable& table, const HeadShape& shape,
                                  const CachedLayer& layer, const std::vector<int64_t>& lengths,
                                  const AttentionRule& given) {
  RECORD_USER_SCOPE("leash::fused_cached_attention");
  int64_t longest = 0;
  for (size_t i = 0; i < lengths.size(); ++i)
    longest = std::max(longest, (*layer.past)[i] + lengths[i]);
  const AttentionRule rule = given.within(longest);
  const at::Tensor out = at::empty({qkv.size(0), shape.num_heads * shape.head_dim}, qkv.options());
  const Cached cached{.source = AttentionSource(qkv, positions, table, shape, rule),
                      .keys = layer.keys.const_data_ptr<float>(),
                      .values = layer.values.const_data_ptr<float>(),
                      .capacity = layer.keys.size(2),
                      .out = out.mutable_data_ptr<float>()};
  const std::vector<CachedUnit> units =
      cached_units(layer, lengths, shape.num_kv_heads, rule.window);
  int64_t scratch = 0;
  for (const CachedUnit& unit : units)
    scratch = std::max(scratch, scratch_of(unit, shape.head_dim));
  for_each_unit(units, scratch, [&](const CachedUnit& unit, float* memory) {
    attend_cached(cached, unit, memory);
  });
  return out;
}

}  // namespace leash
