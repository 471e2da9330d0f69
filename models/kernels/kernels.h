// Inner loops that LibTorch has no fused form of, on plain fp32 memory. Each is compiled for
// AVX-512, AVX2 and the baseline and chosen at run time. The functions that use them have a plain
// ATen version that tests compare with.
#pragma once

#include <cstdint>

namespace leash::kernels {

// y = w x / sqrt(mean(x²) + epsilon) (Zhang & Sennrich 2019). Returns 1 / sqrt(…), which the
// backward pass needs.
float rms_norm_row(const float* x, const float* weight, float* y, int64_t n, double epsilon);
// dx = rstd (w dy - x̂ mean(w dy x̂)), x̂ = rstd x.
void rms_norm_row_backward(const float* x, const float* weight, const float* dy, float rstd,
                           float* dx, int64_t n);
// dw = Σ dy x̂ over rows that lie `stride` apart, for n columns.
void rms_norm_weight_backward(const float* x, const float* dy, const float* rstd, int64_t rows,
                              int64_t stride, int64_t n, float* dw);

// Rotates pairs (i, i + half) of one head by the angles whose cosines and sines are given; `sign`
// -1 rotates back. Entries from 2 half on are copied.
void rotate_head(const float* x, const float* cosines, const float* sines, float sign, float* y,
                 int64_t half, int64_t n);

// y = silu(gate) up.
void silu_gate(const float* gate, const float* up, float* y, int64_t n);
void silu_gate_backward(const float* gate, const float* up, const float* dy, float* dgate,
                        float* dup, int64_t n);

// y = cap · tanh(scale x / cap).
void soft_cap(const float* x, float* y, int64_t n, float scale, float cap);

// What happens to a scaled attention score: first cap · tanh(score / cap), then slope · (place of
// the key - place of the query) is added. 0: nothing.
struct ScoreChange {
  float softcap = 0.0f;
  float slope = 0.0f;
};

// One query head over `length` cached rows, of which the last is its own: out = softmax(scale q Kᵀ)
// V. `scores` is scratch for `length` numbers.
void attend(const float* query, const float* keys, const float* values, int64_t length,
            int64_t head_dim, float scale, float* scores, float* out,
            const ScoreChange& change = {});

// Turns logits into dL/dlogit for L = g · log_softmax(logits / T)[target]: g/T (onehot - p).
void logprob_backward(float* logits, int64_t n, float inverse_temperature, double log_normalizer,
                      int64_t target, float g);
// Σ p (log p - log q) for p, q = softmax of two rows of logits.
double row_kl(const float* p_logits, const float* q_logits, int64_t n, float inverse_temperature,
              double p_log_normalizer, double q_log_normalizer);

}  // namespace leash::kernels
