// The forward pass of fused attention for up to eight rows of queries, over keys and values that
// lie in a cache. Internal to models/attention/*.cpp.
//
// Scores stand by the place of their key, whatever it is a part of (a shared prefix, the sequence
// itself, a cache of keys), and every sum has the order of places: a dot product one chain over the
// head, a row's weights by their place modulo 16, weighed values one chain over the keys. Weights
// outside of what a row sees are zeros, which change no sum. So a row's result is the same bits for
// training and for sampling.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "models/attention/attention_tiles.h"

namespace leash::attention_tiles {

// Keys of places [begin, begin + count), turned: [vectors][head_dim][kLanes].
struct KeyPiece {
  const float* keys = nullptr;
  int64_t count = 0;
};

struct SeenKeys {
  KeyPiece pieces[2];             // one behind the other; the first may be empty
  const float* values = nullptr;  // [keys, head_dim], of both
  int64_t window = 0;             // 0: none
  int64_t head_dim = 0;

  int64_t count() const { return pieces[0].count + pieces[1].count; }
  // Numbers between two rows of scores.
  int64_t stride() const { return (count() + 2 * kLanes) / kLanes * kLanes + kLanes; }
  int64_t first(int64_t place) const {
    return window == 0 ? 0 : std::max<int64_t>(place - window + 1, 0);
  }
};

// Rows of one key head: neighbours of a sequence, or the heads of one row.
struct QueryRows {
  const float* queries = nullptr;  // [rows, head_dim], rotated and scaled
  int64_t rows = 0;
  int64_t place = 0;  // of the first one; it sees what comes up to there
  int64_t step = 1;   // from a row's place to the next one's
  ScoreChange changes[kRows] = {};

  int64_t place_of(int64_t row) const { return place + row * step; }
};

struct RowWeights {
  float inverse[kRows];    // of the sum of a row's weights
  float logsumexp[kRows];  // of its scores
};

// `multiply` for as many rows as there are: groups of heads are often small.
LEASH_AVX512 inline void multiply_rows(int64_t rows, const Matrix& left, const Vectors& right,
                                       int64_t depth, int64_t vectors, float* out,
                                       int64_t out_stride) {
  switch (rows) {
    case 1:
      return multiply<1>(left, right, depth, vectors, false, out, out_stride);
    case 2:
      return multiply<2>(left, right, depth, vectors, false, out, out_stride);
    case 3:
      return multiply<3>(left, right, depth, vectors, false, out, out_stride);
    case 4:
      return multiply<4>(left, right, depth, vectors, false, out, out_stride);
    default:
      return multiply<kRows>(left, right, depth, vectors, false, out, out_stride);
  }
}

// sums [rows, head_dim] = Σ exp(score - largest) value, to be multiplied by the inverse. Memory for
// eight rows whatever their number: of queries, sums, and of scores keys.stride() numbers each.
LEASH_AVX512 inline RowWeights attend_rows(const SeenKeys& keys, const QueryRows& query,
                                           bool changes, float* scores, float* sums) {
  const int64_t n = keys.head_dim, stride = keys.stride();
  const int64_t last = query.place_of(query.rows - 1), seen = last + 1;
  const int64_t from = keys.first(query.place);  // rows are in the order of their places
  int64_t begin = 0;                             // of a piece
  for (const KeyPiece& piece : keys.pieces) {
    const int64_t vector = std::max<int64_t>(from - begin, 0) / kLanes;
    const int64_t vectors = pieces_of(std::min(piece.count, seen - begin), kLanes) - vector;
    // What the first piece writes behind its last key the second overwrites.
    if (vectors > 0) {
      multiply_rows(query.rows, {query.queries, n, 1},
                    {piece.keys + vector * kLanes * n, kLanes, n * kLanes}, n, vectors,
                    scores + begin + vector * kLanes, stride);
    }
    begin += piece.count;
  }
  const int64_t base = from / kLanes * kLanes;
  const int64_t vectors = pieces_of(seen - base, kLanes);
  RowWeights weights;
  for (int64_t r = 0; r < query.rows; ++r) {
    float* const row = scores + r * stride + base;
    const int64_t place = query.place_of(r);
    const int64_t first = keys.first(place) - base, visible = place + 1 - base;
    if (changes) change_scores(row, vectors, query.changes[r], base - place);
    Floats by_lane = Floats{} - INFINITY, sum = {};
    largest_scores(row, first, visible, by_lane);
    const float largest = largest_of(by_lane);
    weigh_scores(row, first, visible, vectors, largest, sum);
    const float whole = sum_of(sum);
    weights.inverse[r] = 1.0f / whole;
    weights.logsumexp[r] = largest + std::log(whole);
  }
  multiply_rows(query.rows, {scores + from, stride, 1}, {keys.values + from * n, n, kLanes},
                seen - from, n / kLanes, sums, n);
  return weights;
}

// out = sums / the sum of weights.
LEASH_INLINE void write_row(const float* sums, float inverse, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += kLanes) {
    Floats x;
    load(sums + i, x);
    store(x * inverse, out + i);
  }
}

}  // namespace leash::attention_tiles
