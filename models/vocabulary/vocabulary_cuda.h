// Rows of logits on a GPU, as tensors; in builds with CUDA.
#pragma once

#include <ATen/core/Tensor.h>

#include <span>

namespace leash::cuda {

struct RowScores {
  at::Tensor logprobs;         // fp32 [rows]
  at::Tensor entropies;        // fp32 [rows]
  at::Tensor log_normalizers;  // fp64 [rows]
};
RowScores score_rows(const at::Tensor& logits /* fp32 [rows, vocab] */,
                     const at::Tensor& targets /* int64 [rows] */, double temperature);

// In place; logits are contiguous.
void logprob_backward(const at::Tensor& logits, const at::Tensor& targets, double temperature,
                      const at::Tensor& log_normalizers, const at::Tensor& gradient);

// On the CPU, [rows] each; -1 as the token of a row that is not finite.
struct Draws {
  at::Tensor tokens;     // int64
  at::Tensor logprobs;   // fp64
  at::Tensor entropies;  // fp64
};
Draws sample_rows(const at::Tensor& logits /* fp32 [rows, vocab] */, double temperature,
                  std::span<const double> uniforms);
// The likeliest token of each row, the first of equals; log-probs and entropies at temperature 1.
Draws pick_largest(const at::Tensor& logits /* fp32 [rows, vocab] */);

}  // namespace leash::cuda
