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

// Rotated keys as [vectors][head_dim][kLanes], values as rows.
LEASH_AVX512 void pack(const AttentionSource& s, int64_t kv_head, int64_t begin, int64_t count,
                       float* rotated, float* keys, float* values) {
  const int64_t n = s.head_dim;
  for (int64_t at = 0; at < count; at += kLanes) {
    const int64_t rows = std::min(kLanes, count - at);
    rotate_keys(s, kv_head, begin + at, rows, begin + count, rotated);
    for (int64_t r = 0; r < rows; ++r) {
      std::memcpy(values + (at + r) * n, s.value(begin + at + r, kv_head),
                  static_cast<size_t>(n) * sizeof(float));
    }
    transpose_rows(rotated, n, rows, n, keys + at * n);
  }
}

// Up to kRows rows of one query head.
LEASH_AVX512 void attend_rows(const AttentionSource& s, const AttentionUnit& unit, int64_t head,
                              int64_t row, const float* keys, const float* values, float* scores,
                              float* query, float* sums, const Results& results) {
  const int64_t n = s.head_dim, vectors_of_head = n / kLanes;
  const SequenceRows& place = unit.place;
  const int64_t rows = std::min(kRows, unit.end - row);
  const int64_t group = s.heads / s.kv_heads;
  const bool last = (head + 1) % group == 0;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t at = place.begin + row + r;
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
  const int64_t before = prefix_vectors(place), own = pieces_of(row + rows, kLanes);
  const int64_t stride = (before + own) * kLanes;
  float* own_scores = scores + before * kLanes;
  multiply({query, n, 1}, {keys, kLanes, n * kLanes}, n, before + own, /*add=*/false, scores,
           stride);
  float inverse[kRows];
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t offset = r * stride, visible = row + r + 1;
    Floats by_lane = Floats{} - INFINITY, sum = {};
    largest_scores(scores + offset, place.prefix_rows, by_lane);
    largest_scores(own_scores + offset, visible, by_lane);
    const float largest = largest_of(by_lane);
    weigh_scores(scores + offset, place.prefix_rows, before, largest, sum);
    weigh_scores(own_scores + offset, visible, own, largest, sum);
    const float whole = sum_of(sum);
    inverse[r] = 1.0f / whole;
    if (results.logsumexp != nullptr) {
      results.logsumexp[(place.begin + row + r) * s.heads + head] = largest + std::log(whole);
    }
  }
  if (place.prefix_rows > 0) {
    multiply({scores, stride, 1}, {values, n, kLanes}, place.prefix_rows, vectors_of_head,
             /*add=*/false, sums, n);
  }
  multiply({own_scores, stride, 1}, {values + before * kLanes * n, n, kLanes}, row + rows,
           vectors_of_head, /*add=*/place.prefix_rows > 0, sums, n);
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
  pack(s, unit.kv_head, unit.place.prefix_begin, unit.place.prefix_rows, query, keys, values);
  pack(s, unit.kv_head, unit.place.begin, unit.end, query, keys + before * n, values + before * n);
  // A row's heads lie side by side: one after the other, and the next one is fetched meanwhile.
  for (int64_t row = unit.begin; row < unit.end; row += kRows) {
    for (int64_t head = unit.kv_head * group; head < (unit.kv_head + 1) * group; ++head)
      attend_rows(s, unit, head, row, keys, values, scores, query, sums, results);
  }
}

// Parts small enough for all threads, but not so small that packing shows.
std::vector<AttentionUnit> units_of(const std::vector<SequenceRows>& places, int64_t kv_heads) {
  int64_t cost = 0;
  for (const SequenceRows& place : places)
    cost += kv_heads * AttentionUnit{.place = place, .end = place.rows}.cost();
  const int64_t wanted = std::max<int64_t>(cost / (4 * at::get_num_threads()), 1);
  std::vector<AttentionUnit> units;
  for (const SequenceRows& place : places) {
    const int64_t whole = AttentionUnit{.place = place, .end = place.rows}.cost();
    const std::vector<int64_t> begins = split_rows(place, pieces_of(whole, wanted), kFewestRows);
    for (size_t part = 0; part + 1 < begins.size(); ++part) {
      for (int64_t kv_head = 0; kv_head < kv_heads; ++kv_head) {
        units.push_back(
            {.place = place, .kv_head = kv_head, .begin = begins[part], .end = begins[part + 1]});
      }
    }
  }
  return units;
}

}  // namespace

bool fused_attention_fits(const at::TensorOptions& options, const HeadShape& shape,
                          const AttentionRule& rule) {
  return options.device().is_cpu() && options.dtype() == at::kFloat &&
         shape.head_dim % kLanes == 0 && rule.only_scaled() && product_tile::has_avx512();
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
  const std::vector<AttentionUnit> units = units_of(places, source.kv_heads);
  int64_t scratch = 0;
  for (const AttentionUnit& unit : units)
    scratch = std::max(scratch, scratch_of(unit, source.head_dim));
  for_each_unit(units, scratch, [&](const AttentionUnit& unit, float* memory) {
    attend(source, unit, memory, results);
  });
  return result;
}

}  // namespace leash
