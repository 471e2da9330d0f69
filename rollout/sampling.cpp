// One row at a time, rows on as many threads as there are: nothing of a row depends on another.
#include "rollout/sampling.h"

#include <ATen/Parallel.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "rollout/row_softmax.h"
#include "rollout/truncation.h"

#ifdef LEASH_CUDA
#include "models/errors.h"
#include "models/vocabulary/vocabulary_cuda.h"
#endif

namespace leash {
namespace {

void check(const SamplingConfig& config) {
  TORCH_CHECK(config.temperature >= 0 && std::isfinite(config.temperature), "temperature is ",
              config.temperature, ", not a number >= 0");
  TORCH_CHECK(config.top_k >= 0, "top_k is ", config.top_k, ", not 0 or above");
  TORCH_CHECK(config.top_p > 0 && config.top_p <= 1, "top_p is ", config.top_p, ", not in (0, 1]");
  TORCH_CHECK(config.min_p >= 0 && config.min_p <= 1, "min_p is ", config.min_p, ", not in [0, 1]");
  TORCH_CHECK(config.repetition_penalty > 0 && std::isfinite(config.repetition_penalty),
              "repetition_penalty is ", config.repetition_penalty, ", not a number above 0");
}

struct Row {
  std::span<const float> logits;  // [vocab]
  double uniform = 0;
  std::span<const int64_t> history;
  std::span<const int64_t> forbidden;
};

// The row as it is drawn from: seen tokens made less likely (Keskar et al. 2019, once per token
// however often it was seen), forbidden ones impossible.
std::vector<float> edited_logits(const Row& row, double penalty) {
  std::vector<float> edited(row.logits.begin(), row.logits.end());
  const auto inside = [&](int64_t token) {
    return token >= 0 && token < static_cast<int64_t>(edited.size());
  };
  if (penalty != 1.0) {
    const float factor = static_cast<float>(penalty);
    for (const int64_t token : row.history) {
      if (!inside(token)) continue;
      const float logit = row.logits[static_cast<size_t>(token)];
      edited[static_cast<size_t>(token)] = logit < 0 ? logit * factor : logit / factor;
    }
  }
  for (const int64_t token : row.forbidden) {
    if (inside(token)) edited[static_cast<size_t>(token)] = -std::numeric_limits<float>::infinity();
  }
  return edited;
}

int64_t first_largest(std::span<const float> logits) {
  return std::max_element(logits.begin(), logits.end()) - logits.begin();
}

// What training computes is fp32, and there is no gap between the two.
double in_fp32(double logprob) { return static_cast<float>(logprob); }

SampledToken sample_row(const Row& row, const SamplingConfig& config) {
  const double temperature = config.greedy() ? 1.0 : config.temperature;
  const RowSoftmax full(row.logits, temperature);
  std::vector<float> copy;
  std::span<const float> scores = row.logits;
  if (config.repetition_penalty != 1.0 || !row.forbidden.empty()) {
    copy = edited_logits(row, config.repetition_penalty);
    scores = copy;
  }
  SampledToken sampled;
  sampled.entropy = full.entropy();
  if (config.greedy()) {
    sampled.token = first_largest(scores);
    TORCH_CHECK(std::isfinite(scores[static_cast<size_t>(sampled.token)]),
                "every token is forbidden");
  } else if (config.top_k > 0 || config.top_p < 1.0 || config.min_p > 0) {
    const KeptDraw draw =
        draw_kept(kept_tokens(scores, RowSoftmax(scores, temperature), config), row.uniform);
    sampled.token = draw.token;
    sampled.behaviour_logprob = draw.logprob;
  } else if (!copy.empty()) {
    const RowSoftmax behaviour(scores, temperature);
    sampled.token = behaviour.draw(row.uniform);
    sampled.behaviour_logprob = behaviour.logprob(sampled.token);
  } else {
    sampled.token = full.draw(row.uniform);
    sampled.behaviour_logprob = in_fp32(full.logprob(sampled.token));
  }
  sampled.logprob = in_fp32(full.logprob(sampled.token));
  return sampled;
}

#ifdef LEASH_CUDA
std::vector<SampledToken> on_gpu(const cuda::Draws& draws, bool greedy) {
  std::vector<SampledToken> sampled;
  for (int64_t i = 0; i < draws.tokens.numel(); ++i) {
    const int64_t token = draws.tokens.const_data_ptr<int64_t>()[i];
    if (token < 0) {
      throw NonFinite(
          "the model's logits are not finite: a weight or an activation is NaN or infinite");
    }
    const double logprob = draws.logprobs.const_data_ptr<double>()[i];
    sampled.push_back({.token = token,
                       .logprob = logprob,
                       .behaviour_logprob = greedy ? 0.0 : logprob,
                       .entropy = draws.entropies.const_data_ptr<double>()[i]});
  }
  return sampled;
}
#endif

}  // namespace

std::vector<SampledToken> sample_tokens(const at::Tensor& logits, const SamplingConfig& config,
                                        std::span<const double> uniforms,
                                        std::span<const std::span<const int64_t>> histories,
                                        std::span<const std::span<const int64_t>> forbidden) {
  check(config);
  TORCH_CHECK(logits.dim() == 2 && logits.scalar_type() == at::kFloat && logits.is_cpu(),
              "sampling takes fp32 logits [rows, vocab] on the CPU, not ", logits.toString(), " ",
              logits.sizes());
  const size_t rows = static_cast<size_t>(logits.size(0)),
               vocab = static_cast<size_t>(logits.size(1));
  TORCH_CHECK(uniforms.size() == rows && (histories.empty() || histories.size() == rows) &&
                  (forbidden.empty() || forbidden.size() == rows),
              "sampling got ", rows, " rows of logits, ", uniforms.size(), " uniforms, ",
              histories.size(), " histories and ", forbidden.size(), " lists of forbidden tokens");
  const at::Tensor contiguous = logits.contiguous();
  const float* data = contiguous.const_data_ptr<float>();
  std::vector<SampledToken> sampled(rows);
  RECORD_USER_SCOPE("leash::sample");
  at::parallel_for(0, static_cast<int64_t>(rows), 1, [&](int64_t begin, int64_t end) {
    for (size_t i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      Row row{{data + i * vocab, vocab}, uniforms[i], {}, {}};
      if (!histories.empty()) row.history = histories[i];
      if (!forbidden.empty()) row.forbidden = forbidden[i];
      sampled[i] = sample_row(row, config);
    }
  });
  return sampled;
}

std::vector<SampledToken> draw_tokens(const at::Tensor& logits, const SamplingConfig& config,
                                      std::span<const double> uniforms,
                                      std::span<const std::span<const int64_t>> histories,
                                      std::span<const std::span<const int64_t>> forbidden) {
#ifdef LEASH_CUDA
  const bool any_forbidden =
      std::ranges::any_of(forbidden, [](const auto& tokens) { return !tokens.empty(); });
  const bool edited = any_forbidden || config.repetition_penalty != 1.0;
  if (logits.is_cuda() && !edited && (config.greedy() || !config.truncates())) {
    check(config);
    return config.greedy() ? on_gpu(cuda::pick_largest(logits), /*greedy=*/true)
                           : on_gpu(cuda::sample_rows(logits, config.temperature, uniforms),
                                    /*greedy=*/false);
  }
#endif
  return sample_tokens(logits.cpu(), config, uniforms, histories, forbidden);
}

}  // namespace leash
