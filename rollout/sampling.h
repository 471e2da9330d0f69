// From logits to a token: temperature, repetition penalty, top-k, top-p, min-p, and a draw that
// depends on nothing but its place.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "models/random/random.h"

namespace leash {

struct SamplingConfig {
  double temperature = 1.0;  // 0: greedy
  int64_t top_k = 0;         // 0: off
  double top_p = 1.0;        // 1: off (nucleus sampling, Holtzman et al. 2020)
  double min_p = 0.0;        // 0: off (Nguyen et al. 2024)
  double repetition_penalty =
      1.0;  // 1: off (Keskar et al. 2019), over prompt and answer, as transformers

  bool greedy() const { return temperature == 0.0; }
  // Whether tokens are drawn from anything else than softmax(logits / temperature).
  bool truncates() const {
    return top_k > 0 || top_p < 1.0 || min_p > 0.0 || repetition_penalty != 1.0;
  }
};

struct SampledToken {
  int64_t token = 0;
  double logprob = 0;  // nats, under log_softmax(logits / temperature) over the whole vocabulary
                       // (temperature 1 when greedy)
  double behaviour_logprob = 0;  // under what it was really drawn from (0 when greedy); equal to
                                 // logprob when nothing truncates or forbids
  double entropy = 0;            // nats, of log_softmax(logits / temperature)
};

// One token per row of fp32 logits on the CPU. `uniforms[i]` in [0, 1) decides row i;
// `histories[i]` (prompt and answer so far) is what the repetition penalty looks at; tokens in
// `forbidden[i]` cannot be drawn (min_new_tokens), and logprob ignores that.
std::vector<SampledToken> sample_tokens(const at::Tensor& logits /* [rows, vocab] */,
                                        const SamplingConfig& config,
                                        std::span<const double> uniforms,
                                        std::span<const std::span<const int64_t>> histories,
                                        std::span<const std::span<const int64_t>> forbidden);

// The same of logits on any device. On a GPU a kernel draws where nothing truncates, penalises or
// forbids; all else is drawn on the CPU.
std::vector<SampledToken> draw_tokens(const at::Tensor& logits /* [rows, vocab] fp32 */,
                                      const SamplingConfig& config,
                                      std::span<const double> uniforms,
                                      std::span<const std::span<const int64_t>> histories,
                                      std::span<const std::span<const int64_t>> forbidden);

}  // namespace leash
