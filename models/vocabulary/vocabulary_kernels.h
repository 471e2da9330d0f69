// Launchers of the kernels over rows of logits. `stream` is a cudaStream_t; pointers are of the
// device that is current.
#pragma once

#include <cstdint>

namespace leash::cuda {

// Scores rows of fp32 logits [rows, vocab]: log p[target] and entropy (fp32) and the normaliser's
// log (fp64) of softmax(logits · inverse_temperature), each [rows].
void launch_score_rows(const float* logits, const int64_t* targets, int64_t rows, int64_t vocab,
                       float inverse_temperature, float* logprobs, float* entropies,
                       double* log_normalizers, void* stream);

// logits become dL/dlogits for L = Σ gradient · log p[target].
void launch_logprob_backward(float* logits, const int64_t* targets, int64_t rows, int64_t vocab,
                             float inverse_temperature, const double* log_normalizers,
                             const float* gradient, void* stream);

// One draw per row from softmax(logits · inverse_temperature): token (int64), log-prob and entropy
// (fp64). `part_sums` is scratch [rows, parts of kSampledPart tokens]. A row that is not finite
// gets token -1.
void launch_sample_rows(const float* logits, const double* uniforms, int64_t rows, int64_t vocab,
                        float inverse_temperature, double* part_sums, int64_t* tokens,
                        double* logprobs, double* entropies, void* stream);

// The first of the likeliest tokens of each row, its log-prob and the row's entropy at temperature
// 1; otherwise as launch_sample_rows.
void launch_pick_largest(const float* logits, int64_t rows, int64_t vocab, int64_t* tokens,
                         double* logprobs, double* entropies, void* stream);

}  // namespace leash::cuda
