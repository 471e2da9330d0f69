#include "models/kernels/kernels.h"

#include <algorithm>
#include <cmath>

#include "models/kernels/fast_exp.h"
#include "models/kernels/fast_tanh.h"
#include "models/kernels/target_clones.h"

namespace leash::kernels {
namespace {

constexpr int64_t kBlock = 1024;  // partial sums in fp32 stay this short, then go to fp64

}  // namespace

LEASH_CLONES float rms_norm_row(const float* x, const float* weight, float* y, int64_t n,
                                double epsilon) {
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (int64_t i = 0; i < n; ++i) squares += x[i] * x[i];
  const float rstd =
      static_cast<float>(1.0 / std::sqrt(static_cast<double>(squares) / n + epsilon));
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] * rstd * weight[i];
  return rstd;
}

LEASH_CLONES void rms_norm_row_backward(const float* x, const float* weight, const float* dy,
                                        float rstd, float* dx, int64_t n) {
  float dot = 0;
#pragma omp simd reduction(+ : dot)
  for (int64_t i = 0; i < n; ++i) dot += dy[i] * weight[i] * x[i];
  const float correction = rstd * rstd * rstd * dot / static_cast<float>(n);
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) dx[i] = rstd * weight[i] * dy[i] - correction * x[i];
}

LEASH_CLONES void rms_norm_weight_backward(const float* x, const float* dy, const float* rstd,
                                           int64_t rows, int64_t stride, int64_t n, float* dw) {
  for (int64_t i = 0; i < n; ++i) dw[i] = 0;
  for (int64_t row = 0; row < rows; ++row, x += stride, dy += stride) {
    const float scale = rstd[row];
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) dw[i] += dy[i] * (x[i] * scale);
  }
}

LEASH_CLONES void rotate_head(const float* x, const float* cosines, const float* sines, float sign,
                              float* y, int64_t half, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < half; ++i) {
    const float sine = sign * sines[i];
    const float low = x[i];
    const float high = x[i + half];
    y[i] = low * cosines[i] - high * sine;
    y[i + half] = high * cosines[i] + low * sine;
  }
  for (int64_t i = 2 * half; i < n; ++i) y[i] = x[i];
}

LEASH_CLONES void silu_gate(const float* gate, const float* up, float* y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i)
    y[i] = gate[i] / (1.0f + fast_exp(std::min(-gate[i], 87.0f))) * up[i];
}

LEASH_CLONES void silu_gate_backward(const float* gate, const float* up, const float* dy,
                                     float* dgate, float* dup, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float sigmoid = 1.0f / (1.0f + fast_exp(std::min(-gate[i], 87.0f)));
    const float silu = gate[i] * sigmoid;
    dup[i] = dy[i] * silu;
    dgate[i] = dy[i] * up[i] * (sigmoid + silu * (1.0f - sigmoid));
  }
}

LEASH_CLONES void soft_cap(const float* x, float* y, int64_t n, float scale, float cap) {
  const float inverse = scale / cap;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = cap * fast_tanh(x[i] * inverse);
}

// Returns the largest of what they become.
LEASH_INLINE float change_scores(float* scores, int64_t length, const ScoreChange& change) {
  if (change.softcap > 0.0f) {
    const float inverse = 1.0f / change.softcap;
#pragma omp simd
    for (int64_t j = 0; j < length; ++j)
      scores[j] = change.softcap * fast_tanh(scores[j] * inverse);
  }
  float largest = -INFINITY;
#pragma omp simd reduction(max : largest)
  for (int64_t j = 0; j < length; ++j) {
    scores[j] += change.slope * static_cast<float>(j - (length - 1));
    largest = std::max(largest, scores[j]);
  }
  return largest;
}

LEASH_CLONES void attend(const float* query, const float* keys, const float* values, int64_t length,
                         int64_t head_dim, float scale, float* scores, float* out,
                         const ScoreChange& change) {
  float largest = -INFINITY;
  for (int64_t j = 0; j < length; ++j) {
    const float* key = keys + j * head_dim;
    float dot = 0;
#pragma omp simd reduction(+ : dot)
    for (int64_t i = 0; i < head_dim; ++i) dot += query[i] * key[i];
    scores[j] = dot * scale;
    largest = std::max(largest, scores[j]);
  }
  if (change.softcap > 0.0f || change.slope != 0.0f)
    largest = change_scores(scores, length, change);
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < length; ++j) {
    scores[j] = fast_exp(scores[j] - largest);
    sum += scores[j];
  }
  for (int64_t i = 0; i < head_dim; ++i) out[i] = 0;
  const float inverse = 1.0f / sum;
  for (int64_t j = 0; j < length; ++j) {
    const float weight = scores[j] * inverse;
    const float* value = values + j * head_dim;
#pragma omp simd
    for (int64_t i = 0; i < head_dim; ++i) out[i] += weight * value[i];
  }
}

LEASH_CLONES void logprob_backward(float* logits, int64_t n, float inverse_temperature,
                                   double log_normalizer, int64_t target, float g) {
  const float scaled = g * inverse_temperature;
  const float shift = static_cast<float>(log_normalizer);
#pragma omp simd
  for (int64_t i = 0; i < n; ++i)
    logits[i] = -scaled * fast_exp(logits[i] * inverse_temperature - shift);
  logits[target] += scaled;
}

LEASH_CLONES double row_kl(const float* p_logits, const float* q_logits, int64_t n,
                           float inverse_temperature, double p_log_normalizer,
                           double q_log_normalizer) {
  const float p_shift = static_cast<float>(p_log_normalizer);
  const float shift_difference = static_cast<float>(q_log_normalizer - p_log_normalizer);
  // A row that is not finite has no probabilities; below it would look like equality.
  double sum = 0 * (p_log_normalizer + q_log_normalizer);
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, n);
    float block_sum = 0;
#pragma omp simd reduction(+ : block_sum)
    for (int64_t i = begin; i < end; ++i) {
      const float p = fast_exp(p_logits[i] * inverse_temperature - p_shift);
      const float ratio = (p_logits[i] - q_logits[i]) * inverse_temperature + shift_difference;
      block_sum += p > 0 ? p * ratio : 0.0f;
    }
    sum += block_sum;
  }
  return sum;
}

}  // namespace leash::kernels
