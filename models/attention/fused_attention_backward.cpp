#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "models/attention/attention_division.h"
#include "models/attention/attention_source.h"
#include "models/attention/attention_tiles.h"
#include "models/attention/fused_attention.h"

namespace leash {
namespace {

using namespace attention_tiles;  // NOLINT: internal to these files

constexpr int64_t kKeys = 6 * kLanes;  // of a block

// Gradients of a unit's keys and values, [vectors kLanes, head_dim] each: in memory that units
// share where several add to the same keys, else in its scratch.
struct KeySums {
  float* keys = nullptr;
  float* values = nullptr;
};

struct Problem {
  AttentionSource source;
  const float* out = nullptr;        // [tokens, heads · head_dim]
  const float* logsumexp = nullptr;  // [tokens, heads]
  const float* dy = nullptr;         // [tokens, heads · head_dim]
  float* dqkv = nullptr;             // [tokens, (heads + 2 kv_heads) head_dim]
  float* gradient(int64_t row, int64_t head) const {
    return dqkv + (row * (source.heads + 2 * source.kv_heads) + head) * source.head_dim;
  }
};

// Keys of one sequence as the products want them.
struct PackedKeys {
  const float* keys = nullptr;               // rotated, [vectors kLanes, head_dim]
  const float* keys_transposed = nullptr;    // [vectors][head_dim][kLanes]
  const float* values_transposed = nullptr;  // the same
  int64_t count = 0;
  int64_t rows_before = 0;  // row i of the sequence has the place of key rows_before + i
  KeySums sums;
};

// What a block of queries works with: rows are kQueries.
struct Block {
  float* query;      // rotated and scaled, [rows, head_dim]
  float* dy;         // [rows, head_dim]
  float* dquery;     // [rows, head_dim]
  float* weights;    // [rows, kKeys]
  float* gradients;  // of scores, [rows, kKeys]
  float* slopes;     // of a soft cap, [kKeys]
  float logsumexp[kQueries];
  float delta[kQueries];
  int64_t head = 0;
  int64_t first = 0;  // row of the sequence
  int64_t rows = 0;
};

// From key `first` on, in whole blocks.
LEASH_AVX512 void pack(const AttentionSource& s, int64_t kv_head, int64_t begin, int64_t first,
                       int64_t count, float* keys, float* keys_transposed,
                       float* values_transposed) {
  const int64_t n = s.head_dim;
  for (int64_t at = first / kKeys * kKeys; at < count; at += kLanes) {
    const int64_t rows = std::min(kLanes, count - at);
    rotate_keys(s, kv_head, begin + at, rows, begin + count, keys + at * n);
    transpose_rows(keys + at * n, n, rows, n, keys_transposed + at * n);
    transpose_rows(s.value(begin + at, kv_head), s.stride, rows, n, values_transposed + at * n);
  }
}

// Queries, dL/dout and D of the block's rows; zeros up to a whole group of rows.
LEASH_AVX512 void read_queries(const Problem& p, const SequenceRows& place, int64_t head,
                               Block& block) {
  const AttentionSource& s = p.source;
  const int64_t n = s.head_dim, group = s.heads / s.kv_heads;
  const bool last = (head + 1) % group == 0;
  const int64_t end = place.begin + place.rows;
  block.head = head;
  const auto fetch_queries = [&](int64_t row, int64_t of_head) __attribute__((always_inline)) {
    if (row >= end) return;
    fetch(s.query(row, of_head), n);
    fetch(p.dy + (row * s.heads + of_head) * n, n);
    fetch(p.out + (row * s.heads + of_head) * n, n);
  };
  for (int64_t r = 0; r < block.rows; ++r) {
    const int64_t row = place.begin + block.first + r;
    fetch_to_write(p.gradient(row, head), n);
    fetch_queries(last ? row + kQueries : row, last ? head + 1 - group : head + 1);
    rotate(s.query(row, head), s.cosines_of(row), s.sines_of(row), 1.0f, s.scale, s.half, n,
           block.query + r * n);
    const float* dy = p.dy + (row * s.heads + head) * n;
    const float* out = p.out + (row * s.heads + head) * n;
    Floats sum = {}, x, y;
    for (int64_t i = 0; i < n; i += kLanes) {
      load(dy + i, x);
      load(out + i, y);
      sum += x * y;
      store(x, block.dy + r * n + i);
    }
    block.delta[r] = sum_of(sum);
    block.logsumexp[r] = p.logsumexp[row * s.heads + head];
  }
  const int64_t whole = pieces_of(block.rows, kRows) * kRows;
  const auto rest = static_cast<size_t>((whole - block.rows) * n) * sizeof(float);
  std::memset(block.query + block.rows * n, 0, rest);
  std::memset(block.dy + block.rows * n, 0, rest);
}

// Adds what keys [key, key + kKeys) and the block give each other.
LEASH_AVX512 void meet(const AttentionSource& s, const PackedKeys& keys, int64_t key, bool first,
                       const Block& block) {
  const int64_t n = s.head_dim, vectors_of_head = n / kLanes;
  const int64_t count = std::min(kKeys, keys.count - key);
  const Vectors key_vectors{keys.keys_transposed + key * n, kLanes, n * kLanes};
  const Vectors value_vectors{keys.values_transposed + key * n, kLanes, n * kLanes};
  // The block's keys that a row sees: [unseen, seen). Counted from them, rows begin at `place`.
  const int64_t place = keys.rows_before + block.first - key;
  const auto seen = [&](int64_t row) __attribute__((always_inline)) {
    return std::clamp<int64_t>(place + row + 1, 0, count);
  };
  const auto unseen = [&](int64_t row) __attribute__((always_inline)) {
    return s.window == 0 ? 0 : std::clamp<int64_t>(place + row + 1 - s.window, 0, count);
  };
  for (int64_t row = 0; row < block.rows; row += kRows) {
    const int64_t rows = std::min(kRows, block.rows - row);
    const int64_t most = seen(row + rows - 1);
    if (most <= unseen(row)) continue;
    const int64_t vectors = pieces_of(most, kLanes);
    float* weights = block.weights + row * kKeys;
    float* gradients = block.gradients + row * kKeys;
    multiply({block.query + row * n, n, 1}, key_vectors, n, vectors, false, weights, kKeys);
    multiply({block.dy + row * n, n, 1}, value_vectors, n, vectors, false, gradients, kKeys);
    for (int64_t r = 0; r < rows; ++r) {
      if (s.changes()) {
        change_scores(weights + r * kKeys, vectors, s.change(block.head), -(place + row + r),
                      block.slopes);
      }
      score_gradients(weights + r * kKeys, gradients + r * kKeys, unseen(row + r), seen(row + r),
                      vectors, block.logsumexp[row + r], block.delta[row + r]);
      if (s.softcap > 0) multiply_by(block.slopes, vectors, gradients + r * kKeys);
    }
    multiply({gradients, kKeys, 1}, {keys.keys + key * n, n, kLanes}, most, vectors_of_head, !first,
             block.dquery + row * n, n);
  }
  for (int64_t k = 0; k < count; k += kRows) {
    // Rows before `row` do not see these keys yet, those from `end` on no more.
    const int64_t row = std::max<int64_t>(k - place, 0);
    const int64_t last = std::min(k + kRows, count) - 1;
    const int64_t end = s.window == 0 ? block.rows : std::min(block.rows, last + s.window - place);
    const int64_t depth = end - row;
    if (depth <= 0) continue;
    const int64_t at = row * kKeys + k, to = (key + k) * n;
    multiply({block.weights + at, 1, kKeys}, {block.dy + row * n, n, kLanes}, depth,
             vectors_of_head, true, keys.sums.values + to, n);
    multiply({block.gradients + at, 1, kKeys}, {block.query + row * n, n, kLanes}, depth,
             vectors_of_head, true, keys.sums.keys + to, n);
  }
}

// dL/dq of the block's rows, turned back.
LEASH_AVX512 void write_queries(const Problem& p, const SequenceRows& place, int64_t head,
                                const Block& block) {
  const AttentionSource& s = p.source;
  for (int64_t r = 0; r < block.rows; ++r) {
    const int64_t row = place.begin + block.first + r;
    rotate(block.dquery + r * s.head_dim, s.cosines_of(row), s.sines_of(row), -1.0f, s.scale,
           s.half, s.head_dim, p.gradient(row, head));
  }
}

// dL/dk, turned back, and dL/dv of one row.
LEASH_AVX512 void write_key(const Problem& p, int64_t row, int64_t kv_head, const float* key,
                            const float* value) {
  const AttentionSource& s = p.source;
  rotate(key, s.cosines_of(row), s.sines_of(row), -1.0f, 1.0f, s.half, s.head_dim,
         p.gradient(row, s.heads + kv_head));
  std::memcpy(p.gradient(row, s.heads + s.kv_heads + kv_head), value,
              static_cast<size_t>(s.head_dim) * sizeof(float));
}

// Numbers of scratch: keys three times, sums for a unit's own, and a block.
int64_t scratch_of(const AttentionUnit& unit, int64_t n) {
  return (3 * padded(unit.place.prefix_rows) + 5 * padded(unit.end)) * n + 3 * kQueries * n +
         2 * kQueries * kKeys + kKeys;
}

// Takes numbers from a thread's scratch.
struct Scratch {
  float* next;
  float* take(int64_t numbers) { return std::exchange(next, next + numbers); }
};

PackedKeys packed_keys(const Problem& p, int64_t kv_head, int64_t begin, int64_t first,
                       int64_t count, int64_t rows_before, float* sums, Scratch& scratch) {
  const int64_t numbers = padded(count) * p.source.head_dim;
  float* keys = scratch.take(numbers);
  float* keys_transposed = scratch.take(numbers);
  float* values_transposed = scratch.take(numbers);
  pack(p.source, kv_head, begin, first, count, keys, keys_transposed, values_transposed);
  if (sums == nullptr) sums = scratch.take(2 * numbers);
  std::memset(sums, 0, static_cast<size_t>(2 * numbers) * sizeof(float));
  return {.keys = keys,
          .keys_transposed = keys_transposed,
          .values_transposed = values_transposed,
          .count = count,
          .rows_before = rows_before,
          .sums = {.keys = sums, .values = sums + numbers}};
}

void attend_backward(const Problem& p, const BackwardUnit& unit, float* shared, float* memory) {
  const AttentionSource& s = p.source;
  const SequenceRows& place = unit.place;
  const int64_t n = s.head_dim, group = s.heads / s.kv_heads;
  Scratch scratch{memory};
  const auto sums = [&](int64_t offset) { return offset < 0 ? nullptr : shared + offset; };
  const FirstKeys reached = first_keys(place, unit.begin, s.window);
  PackedKeys prefix;
  if (place.prefix_rows > 0) {
    prefix = packed_keys(p, unit.kv_head, place.prefix_begin, reached.prefix, place.prefix_rows,
                         place.prefix_rows, sums(unit.prefix_sums), scratch);
  }
  const PackedKeys own = packed_keys(p, unit.kv_head, place.begin, reached.own, unit.end,
                                     /*rows_before=*/0, sums(unit.own_sums), scratch);
  Block block{.query = scratch.take(kQueries * n),
              .dy = scratch.take(kQueries * n),
              .dquery = scratch.take(kQueries * n),
              .weights = scratch.take(kQueries * kKeys),
              .gradients = scratch.take(kQueries * kKeys),
              .slopes = scratch.take(kKeys)};
  for (block.first = unit.begin; block.first < unit.end; block.first += kQueries) {
    block.rows = std::min(kQueries, unit.end - block.first);
    for (int64_t head = unit.kv_head * group; head < (unit.kv_head + 1) * group; ++head) {
      read_queries(p, place, head, block);
      bool first = true;
      if (s.window > 0) {  // rows do not meet the same keys first
        std::memset(block.dquery, 0, static_cast<size_t>(kQueries * n) * sizeof(float));
        first = false;
      }
      const FirstKeys seen = first_keys(place, block.first, s.window);
      for (int64_t key = seen.prefix / kKeys * kKeys; key < prefix.count;
           key += kKeys, first = false)
        meet(s, prefix, key, first, block);
      for (int64_t key = seen.own / kKeys * kKeys; key < block.first + block.rows;
           key += kKeys, first = false)
        meet(s, own, key, first, block);
      write_queries(p, place, head, block);
    }
  }
  if (unit.own_sums >= 0) return;
  for (int64_t row = 0; row < place.rows; ++row) {
    write_key(p, place.begin + row, unit.kv_head, own.sums.keys + row * n,
              own.sums.values + row * n);
  }
}

// Gradients of keys and values to which several units have added.
void add_shared(const Problem& p, const std::vector<SequenceRows>& places, const SharedSums& sums,
                const float* shared) {
  const AttentionSource& s = p.source;
  const int64_t n = s.head_dim;
  for (size_t i = 0; i < places.size(); ++i) {
    const std::vector<SharedSums::Part>& parts = sums.parts[i];
    if (parts.empty()) continue;
    at::parallel_for(
        0, places[i].rows * s.kv_heads, /*grain_size=*/16, [&](int64_t begin, int64_t end) {
          std::vector<float> whole(2 * n);  // a key's, then a value's
          for (int64_t item = begin; item < end; ++item) {
            const int64_t row = item / s.kv_heads, kv_head = item % s.kv_heads;
            std::ranges::fill(whole, 0.0f);
            for (const SharedSums::Part& part : parts) {
              if (row >= part.rows) continue;
              const float* keys = shared + part.offset + (kv_head * 2 * part.rows + row) * n;
              const float* values = keys + part.rows * n;
              for (int64_t j = 0; j < n; ++j) whole[j] += keys[j];
              for (int64_t j = 0; j < n; ++j) whole[n + j] += values[j];
            }
            write_key(p, places[i].begin + row, kv_head, whole.data(), whole.data() + n);
          }
        });
  }
}

}  // namespace

at::Tensor fused_attention_backward(const at::Tensor& qkv, const at::Tensor& positions,
                                    const RopeTable& table, const HeadShape& shape,
                                    const std::vector<SequenceRows>& places,
                                    const AttentionOutput& forward, const at::Tensor& dy,
                                    const AttentionRule& rule) {
  RECORD_USER_SCOPE("leash::fused_attention_backward");
  const at::TensorOptions options = qkv.options().requires_grad(false);
  const at::Tensor dqkv = at::empty(qkv.sizes(), options);
  const Problem problem{.source = AttentionSource(qkv, positions, table, shape, rule),
                        .out = forward.out.const_data_ptr<float>(),
                        .logsumexp = forward.logsumexp.const_data_ptr<float>(),
                        .dy = dy.const_data_ptr<float>(),
                        .dqkv = dqkv.mutable_data_ptr<float>()};
  const Division division = divide(places, problem.source);
  int64_t scratch = 0;
  for (const AttentionUnit& unit : division.units)
    scratch = std::max(scratch, scratch_of(unit, shape.head_dim));
  const at::Tensor sums = at::empty({division.sums.size}, options);
  float* const shared = sums.mutable_data_ptr<float>();
  for_each_unit(division.units, scratch, [&](const BackwardUnit& unit, float* memory) {
    attend_backward(problem, unit, shared, memory);
  });
  add_shared(problem, places, division.sums, shared);
  return dqkv;
}

}  // namespace leash
