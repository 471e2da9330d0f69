// The inner parts of fused attention with AVX-512 (product_tile.h): products of eight rows with
// keys or values that lie in a cache, softmax over those rows, and packing. Internal to
// models/attention/fused_attention*.cpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "models/kernels/kernels.h"
#include "models/kernels/product_tile.h"

namespace leash::attention_tiles {

using product_tile::Floats;
using product_tile::kLanes;
using product_tile::kRows;
using product_tile::Lanes;
using product_tile::load;
using product_tile::Matrix;
using product_tile::pieces_of;
using product_tile::store;
using product_tile::tile;
using product_tile::Vectors;

// out [Rows, vectors kLanes] = left [Rows, depth] right, or added to what is there.
template <int Rows = kRows>
LEASH_AVX512 inline void multiply(const Matrix& left, Vectors right, int64_t depth, int64_t vectors,
                                  bool add, float* out, int64_t out_stride) {
  while (vectors > 0) {
    const int64_t count = vectors == 4 ? 2 : std::min<int64_t>(vectors, 3);
    if (count == 3) {
      tile<Rows, 3>(left, right, depth, add, out, out_stride);
    } else if (count == 2) {
      tile<Rows, 2>(left, right, depth, add, out, out_stride);
    } else {
      tile<Rows, 1>(left, right, depth, add, out, out_stride);
    }
    right.data += count * right.vector;
    out += count * kLanes;
    vectors -= count;
  }
}

// kernels::fast_exp of each lane.
LEASH_INLINE void exponential(const Floats& x, Floats& y) {
  const Floats low = Floats{} - 87.0f;
  const Floats clamped = x < low ? low : x;  // NaN stays
  const Floats shifted = clamped * 1.44269504088896341f + 12582912.0f;
  const Floats n = shifted - 12582912.0f;
  const Floats r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;
  Floats p = Floats{} + 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const Lanes exponent = (__builtin_convertvector(n, Lanes) + 127) << 23;
  Floats scale;
  std::memcpy(&scale, &exponent, sizeof(scale));
  y = x < low ? Floats{} : p * scale;
}

// What happens to a scaled score: kernels::ScoreChange.
using kernels::ScoreChange;

// kernels::fast_tanh of each lane.
LEASH_INLINE void hyperbolic_tangent(const Floats& x, Floats& y) {
  const Floats size = x < 0.0f ? -x : x;
  const Floats twice = size * 2.0f, most = Floats{} + 80.0f;
  Floats far;
  exponential(twice > most ? most : twice, far);
  far = 1.0f - 2.0f / (far + 1.0f);
  const Floats z = x * x;
  Floats p = Floats{} - 5.70498872745e-3f;
  p = p * z + 2.06390887954e-2f;
  p = p * z - 5.37397155531e-2f;
  p = p * z + 1.33314422036e-1f;
  p = p * z - 3.33332819422e-1f;
  const Floats near = p * z * x + x;
  y = size < 0.625f ? near : (x < 0.0f ? -far : far);
}

constexpr Lanes kPlaces = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

// Lanes [count, kLanes) become `other`.
LEASH_INLINE void keep(int64_t count, float other, Floats& x) {
  const Lanes kept = kPlaces < static_cast<int32_t>(count);
  x = kept ? x : Floats{} + other;
}

constexpr Lanes kFold8 = {8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7};
constexpr Lanes kFold4 = {4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11};
constexpr Lanes kFold2 = {2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13};
constexpr Lanes kFold1 = {1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14};

LEASH_INLINE float sum_of(const Floats& lanes) {
  Floats x = lanes;
  x += __builtin_shuffle(x, kFold8);
  x += __builtin_shuffle(x, kFold4);
  x += __builtin_shuffle(x, kFold2);
  x += __builtin_shuffle(x, kFold1);
  return x[0];
}
LEASH_INLINE void larger(const Floats& x, Floats& y) { y = x > y ? x : y; }
LEASH_INLINE float largest_of(const Floats& lanes) {
  Floats x = lanes;
  larger(__builtin_shuffle(x, kFold8), x);
  larger(__builtin_shuffle(x, kFold4), x);
  larger(__builtin_shuffle(x, kFold2), x);
  larger(__builtin_shuffle(x, kFold1), x);
  return x[0];
}

// The same of lanes [0, count).
LEASH_INLINE void drop(int64_t count, float other, Floats& x) {
  const Lanes dropped = kPlaces < static_cast<int32_t>(count);
  x = dropped ? Floats{} + other : x;
}

// Changes the scores of whole vectors in place. `distance`: the place of the first of their keys -
// the place of the query. `slopes`, where it is given: the derivatives of the soft cap.
LEASH_INLINE void change_scores(float* scores, int64_t vectors, const ScoreChange& change,
                                int64_t distance, float* slopes = nullptr) {
  const float inverse = change.softcap > 0 ? 1.0f / change.softcap : 0.0f;
  const Floats lanes = __builtin_convertvector(kPlaces, Floats);
  for (int64_t j = 0; j < vectors * kLanes; j += kLanes) {
    Floats x, y;
    load(scores + j, x);
    if (change.softcap > 0) {
      hyperbolic_tangent(x * inverse, y);
      x = y * change.softcap;
      if (slopes != nullptr) store(1.0f - y * y, slopes + j);
    }
    x += (lanes + static_cast<float>(distance + j)) * change.slope;
    store(x, scores + j);
  }
}

// The largest of a row's scores [first, visible), by lanes.
LEASH_INLINE void largest_scores(const float* scores, int64_t first, int64_t visible,
                                 Floats& largest) {
  int64_t j = first / kLanes * kLanes;
  Floats x;
  if (j < first && j < visible) {
    load(scores + j, x);
    drop(first - j, -INFINITY, x);
    keep(visible - j, -INFINITY, x);
    larger(x, largest);
    j += kLanes;
  }
  for (; j + kLanes <= visible; j += kLanes) {
    load(scores + j, x);
    larger(x, largest);
  }
  if (j < visible) {
    load(scores + j, x);
    keep(visible - j, -INFINITY, x);
    larger(x, largest);
  }
}

// exp(score - shift) of a row's scores [first, visible) and zeros around them, in place; added to
// `sums` by lanes. Rows are whole vectors.
LEASH_INLINE void weigh_scores(float* scores, int64_t first, int64_t visible, int64_t vectors,
                               float shift, Floats& sums) {
  const int64_t end = vectors * kLanes;
  int64_t j = 0;
  Floats x;
  for (; j + kLanes <= std::min(first, end); j += kLanes) store(Floats{}, scores + j);
  if (j < first && j < visible) {
    load(scores + j, x);
    exponential(x - shift, x);
    drop(first - j, 0.0f, x);
    keep(visible - j, 0.0f, x);
    sums += x;
    store(x, scores + j);
    j += kLanes;
  }
  for (; j + kLanes <= visible; j += kLanes) {
    load(scores + j, x);
    exponential(x - shift, x);
    sums += x;
    store(x, scores + j);
  }
  if (j < visible) {
    load(scores + j, x);
    exponential(x - shift, x);
    keep(visible - j, 0.0f, x);
    sums += x;
    store(x, scores + j);
    j += kLanes;
  }
  for (; j < end; j += kLanes) store(Floats{}, scores + j);
}

// For the backward pass: weights P = exp(score - logsumexp) in place of scores, and
// dS = P (dP - delta) in place of dP; zeros around [first, visible).
LEASH_INLINE void score_gradients(float* scores, float* gradients, int64_t first, int64_t visible,
                                  int64_t vectors, float logsumexp, float delta) {
  const int64_t end = vectors * kLanes;
  int64_t j = 0;
  Floats x, d;
  for (; j + kLanes <= std::min(first, end); j += kLanes) {
    store(Floats{}, scores + j);
    store(Floats{}, gradients + j);
  }
  if (j < first && j < visible) {
    load(scores + j, x);
    load(gradients + j, d);
    exponential(x - logsumexp, x);
    d = x * (d - delta);
    drop(first - j, 0.0f, x);
    keep(visible - j, 0.0f, x);
    drop(first - j, 0.0f, d);
    keep(visible - j, 0.0f, d);
    store(x, scores + j);
    store(d, gradients + j);
    j += kLanes;
  }
  for (; j + kLanes <= visible; j += kLanes) {
    load(scores + j, x);
    load(gradients + j, d);
    exponential(x - logsumexp, x);
    store(x, scores + j);
    store(x * (d - delta), gradients + j);
  }
  if (j < visible) {
    load(scores + j, x);
    load(gradients + j, d);
    exponential(x - logsumexp, x);
    d = x * (d - delta);
    keep(visible - j, 0.0f, x);
    keep(visible - j, 0.0f, d);
    store(x, scores + j);
    store(d, gradients + j);
    j += kLanes;
  }
  for (; j < end; j += kLanes) {
    store(Floats{}, scores + j);
    store(Floats{}, gradients + j);
  }
}

// Zeros stay, whatever they meet.
LEASH_INLINE void multiply_by(const float* factors, int64_t vectors, float* x) {
  Floats factor, y;
  for (int64_t j = 0; j < vectors * kLanes; j += kLanes) {
    load(factors + j, factor);
    load(x + j, y);
    store(y == 0.0f ? Floats{} : y * factor, x + j);
  }
}

// Up to kLanes rows of n numbers, `stride` apart, as [n, kLanes] with zeros for rows beyond.
LEASH_INLINE void transpose_rows(const float* rows, int64_t stride, int64_t count, int64_t n,
                                 float* to) {
  float whole[kLanes * kLanes];
  for (int64_t d = 0; d < n; d += kLanes) {
    const float* from = rows + d;
    int64_t from_stride = stride;
    if (count < kLanes) {
      std::memset(whole, 0, sizeof(whole));
      for (int64_t r = 0; r < count; ++r)
        std::memcpy(whole + r * kLanes, rows + r * stride + d, kLanes * sizeof(float));
      from = whole;
      from_stride = kLanes;
    }
    product_tile::transpose_block(from, from_stride, to + d * kLanes, kLanes, 1.0f);
  }
}

constexpr int64_t kAhead = 8;  // rows between the one that is packed and the one that is fetched

// Asks for a head's numbers before they are read, or written.
LEASH_INLINE void fetch(const float* x, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) __builtin_prefetch(x + i, /*rw=*/0, /*locality=*/2);
}
LEASH_INLINE void fetch_to_write(const float* x, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) __builtin_prefetch(x + i, /*rw=*/1, /*locality=*/2);
}

// scale · one head turned by the angles whose cosines and sines are given (kernels::rotate_head).
LEASH_INLINE void rotate(const float* x, const float* cosines, const float* sines, float sign,
                         float scale, int64_t half, int64_t n, float* y) {
  int64_t i = 0;
  for (; i + kLanes <= half; i += kLanes) {
    Floats low, high, cosine, sine;
    load(x + i, low);
    load(x + i + half, high);
    load(cosines + i, cosine);
    load(sines + i, sine);
    sine *= sign;
    store((low * cosine - high * sine) * scale, y + i);
    store((high * cosine + low * sine) * scale, y + i + half);
  }
  for (; i < half; ++i) {
    const float sine = sign * sines[i];
    const float low = x[i], high = x[i + half];
    y[i] = (low * cosines[i] - high * sine) * scale;
    y[i + half] = (high * cosines[i] + low * sine) * scale;
  }
  for (i = 2 * half; i < n; ++i) y[i] = x[i] * scale;
}

}  // namespace leash::attention_tiles
