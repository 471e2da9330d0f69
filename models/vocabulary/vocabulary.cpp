#include "models/vocabulary/vocabulary.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros_like.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>

#include "models/device/device.h"
#include "models/kernels/kernels.h"
#include "models/kernels/node.h"
#include "models/kernels/softmax_blocks.h"
#include "models/vocabulary/temperature.h"
#include "models/vocabulary/vocabulary_chunks.h"

#ifdef LEASH_CUDA
#include "models/vocabulary/vocabulary_cuda.h"
#endif

namespace leash {
namespace {

struct ChunkScores {
  at::Tensor logprobs;         // [rows]
  at::Tensor entropies;        // [rows]
  at::Tensor log_normalizers;  // [rows] fp64, of logits / temperature
};

ChunkScores score_chunk(const at::Tensor& logits, const at::Tensor& targets, double temperature) {
  const int64_t rows = logits.size(0);
  const int64_t vocab = logits.size(1);
  ChunkScores scores{.logprobs = at::empty({rows}, logits.options()),
                     .entropies = at::empty({rows}, logits.options()),
                     .log_normalizers = at::empty({rows}, logits.options().dtype(at::kDouble))};
#ifdef LEASH_CUDA
  if (logits.is_cuda() && logits.scalar_type() == at::kFloat) {
    const cuda::RowScores found = cuda::score_rows(logits, targets, temperature);
    return {.logprobs = found.logprobs,
            .entropies = found.entropies,
            .log_normalizers = found.log_normalizers};
  }
#endif
  if (!use_kernel(logits)) {
    const at::Tensor scaled = logits.div(temperature);
    const at::Tensor logp = at::log_softmax(scaled, -1);
    scores.logprobs.copy_(logp.gather(1, targets.unsqueeze(1)).squeeze(1));
    scores.entropies.copy_(logp.exp().mul(logp).sum(-1).neg());
    scores.log_normalizers.copy_(scaled.logsumexp(at::IntArrayRef{-1}));
    return scores;
  }
  const float inverse = inverse_temperature(temperature);
  const float* pl = logits.const_data_ptr<float>();
  const int64_t* pt = targets.const_data_ptr<int64_t>();
  float* logprobs = scores.logprobs.mutable_data_ptr<float>();
  float* entropies = scores.entropies.mutable_data_ptr<float>();
  double* normalizers = scores.log_normalizers.mutable_data_ptr<double>();
  RECORD_USER_SCOPE("leash::score_chunk");
  at::parallel_for(0, rows, /*grain_size=*/1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const auto statistics = kernels::softmax_blocks(
          {pl + row * vocab, static_cast<size_t>(vocab)}, inverse, /*keep_blocks=*/false);
      logprobs[row] =
          static_cast<float>(statistics.logprob(pl[row * vocab + pt[row]], temperature));
      entropies[row] = static_cast<float>(statistics.entropy);
      normalizers[row] = statistics.log_normalizer;
    }
  });
  return scores;
}

// dL/dlogits for L = Σ g · logprob; may reuse the memory of `logits`.
at::Tensor logits_gradient(at::Tensor logits, const at::Tensor& targets, double temperature,
                           const at::Tensor& log_normalizers, const at::Tensor& gradient) {
#ifdef LEASH_CUDA
  if (logits.is_cuda() && logits.scalar_type() == at::kFloat && logits.is_contiguous()) {
    cuda::logprob_backward(logits, targets, temperature, log_normalizers, gradient);
    return logits;
  }
#endif
  if (!use_kernel(logits)) {
    const at::Tensor p = at::log_softmax(logits.div(temperature), -1).exp();
    const at::Tensor g = gradient.to(logits.scalar_type()).div(temperature).unsqueeze(1);
    return p.mul(g.neg()).scatter_add_(1, targets.unsqueeze(1), g);
  }
  const int64_t vocab = logits.size(1);
  const float inverse = inverse_temperature(temperature);
  float* pl = logits.mutable_data_ptr<float>();
  const int64_t* pt = targets.const_data_ptr<int64_t>();
  const double* pn = log_normalizers.const_data_ptr<double>();
  const float* pg = gradient.const_data_ptr<float>();
  RECORD_USER_SCOPE("leash::score_chunk_backward");
  at::parallel_for(0, logits.size(0), /*grain_size=*/1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      kernels::logprob_backward(pl + row * vocab, vocab, inverse, pn[row], pt[row], pg[row]);
    }
  });
  return logits;
}

torch::autograd::variable_list backward_chunks(const at::Tensor& hidden, const VocabularyHead& head,
                                               const at::Tensor& targets, double temperature,
                                               const AdapterRows& adapters,
                                               const at::Tensor& log_normalizers,
                                               const torch::autograd::variable_list& trained,
                                               const at::Tensor& gradient) {
  const int64_t step = chunk_rows(head);
  torch::autograd::variable_list result(1 + trained.size());
  result[0] = at::empty(hidden.sizes(), hidden.options());
  for (int64_t row = 0; row < hidden.size(0); row += step) {
    const int64_t count = std::min(step, hidden.size(0) - row);
    torch::autograd::variable_list inputs{
        hidden.narrow(0, row, count).detach().requires_grad_(true)};
    inputs.insert(inputs.end(), trained.begin(), trained.end());
    at::Tensor logits;
    {
      const c10::AutoGradMode with_grad(true);
      logits = wide_logits(inputs[0], head, slice_rows(adapters, row, count));
    }
    const at::Tensor dlogits =
        logits_gradient(logits.detach(), targets.narrow(0, row, count), temperature,
                        log_normalizers.narrow(0, row, count), gradient.narrow(0, row, count));
    const auto gradients =
        torch::autograd::grad({logits}, inputs, {dlogits}, /*retain_graph=*/std::nullopt,
                              /*create_graph=*/false, /*allow_unused=*/true);
    result[0].narrow(0, row, count).copy_(gradients[0]);
    for (size_t i = 1; i < gradients.size(); ++i) {
      if (!gradients[i].defined()) continue;
      result[i] = result[i].defined() ? result[i].add_(gradients[i]) : gradients[i];
    }
  }
  return result;
}

}  // namespace

TokenScores vocabulary_scores(const at::Tensor& hidden, const VocabularyHead& head,
                              const at::Tensor& targets, double temperature,
                              const AdapterRows& adapters) {
  TORCH_CHECK(hidden.dim() == 2 && targets.dim() == 1 && hidden.size(0) == targets.size(0),
              "token_scores: one target per row of hidden");
  TORCH_CHECK(temperature > 0, "token_scores: temperature must be above 0");
  const int64_t rows = hidden.size(0);
  const auto wide = hidden.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  at::Tensor logprobs = at::empty({rows}, hidden.options().dtype(wide).requires_grad(false));
  at::Tensor entropies = at::empty({rows}, logprobs.options());
  at::Tensor normalizers = at::empty({rows}, logprobs.options().dtype(at::kDouble));
  const at::Tensor picked = on_device(targets.contiguous(), hidden.device());
  torch::autograd::variable_list inputs{hidden};
  const auto trained = trained_by_head(head, adapters);
  inputs.insert(inputs.end(), trained.begin(), trained.end());
  const bool differentiates = differentiable(inputs);
  // Where the head itself does not train, the gradient of a log-prob in its row of `hidden` is
  // known up to the factor that comes from above: it is computed here, from the logits that are
  // there already, and the backward pass is a multiplication.
  const bool directly = differentiates && trained.empty();
  at::Tensor directions;  // [rows, hidden]
  if (directly) directions = at::empty(hidden.sizes(), hidden.options().requires_grad(false));
  const int64_t step = chunk_rows(head);
  for (int64_t row = 0; row < rows; row += step) {
    const int64_t count = std::min(step, rows - row);
    const at::Tensor part = hidden.detach().narrow(0, row, count).requires_grad_(directly);
    const at::Tensor part_targets = picked.narrow(0, row, count);
    at::Tensor logits;
    {
      const c10::AutoGradMode with_grad(directly);
      logits = wide_logits(part, head, slice_rows(adapters, row, count));
    }
    const c10::AutoGradMode no_grad(false);
    const ChunkScores chunk = score_chunk(logits.detach(), part_targets, temperature);
    logprobs.narrow(0, row, count).copy_(chunk.logprobs);
    entropies.narrow(0, row, count).copy_(chunk.entropies);
    normalizers.narrow(0, row, count).copy_(chunk.log_normalizers);
    if (!directly) continue;
    const at::Tensor dlogits =
        logits_gradient(logits.detach(), part_targets, temperature, chunk.log_normalizers,
                        at::ones({count}, logprobs.options()));
    directions.narrow(0, row, count).copy_(torch::autograd::grad({logits}, {part}, {dlogits})[0]);
  }
  if (!differentiates) return {.logprobs = logprobs, .entropies = entropies};
  if (directly) {
    const at::Tensor result = with_backward(
        logprobs, inputs, "TokenScoresBackward", [directions](const at::Tensor& gradient) {
          return torch::autograd::variable_list{
              directions.mul(gradient.to(directions.scalar_type()).unsqueeze(1))};
        });
    return {.logprobs = result, .entropies = entropies};
  }
  const at::Tensor saved = hidden.detach();
  at::Tensor result =
      with_backward(logprobs, inputs, "TokenScoresBackward",
                    [saved, head, picked, temperature, adapters, normalizers,
                     trained](const at::Tensor& gradient) {
                      return backward_chunks(saved, head, picked, temperature, adapters,
                                             normalizers, trained, gradient);
                    });
  return {.logprobs = result, .entropies = entropies};
}

at::Tensor vocabulary_kl(const at::Tensor& hidden, const VocabularyHead& head,
                         const AdapterRows& adapters, const at::Tensor& reference_hidden,
                         const VocabularyHead& reference_head,
                         const AdapterRows& reference_adapters, double temperature) {
  TORCH_CHECK(hidden.size(0) == reference_hidden.size(0),
              "exact_kl: policy and reference need the same rows");
  const c10::AutoGradMode no_grad(false);
  const int64_t rows = hidden.size(0);
  const int64_t step = std::max<int64_t>(chunk_rows(head) / 2, 1);
  at::Tensor result = at::empty({rows}, hidden.options().dtype(at::kDouble).requires_grad(false));
  const at::Tensor no_target = at::zeros_like(result, at::kLong);
  for (int64_t row = 0; row < rows; row += step) {
    const int64_t count = std::min(step, rows - row);
    const at::Tensor p =
        wide_logits(hidden.narrow(0, row, count), head, slice_rows(adapters, row, count));
    const at::Tensor q =
        on_device(wide_logits(reference_hidden.narrow(0, row, count), reference_head,
                              slice_rows(reference_adapters, row, count)),
                  p.device());
    if (!use_kernel(p)) {
      const at::Tensor log_p = at::log_softmax(p.to(at::kDouble).div(temperature), -1);
      const at::Tensor log_q = at::log_softmax(q.to(at::kDouble).div(temperature), -1);
      result.narrow(0, row, count).copy_(log_p.exp().mul(log_p.sub(log_q)).sum(-1));
      continue;
    }
    const at::Tensor targets = no_target.narrow(0, row, count);
    const at::Tensor p_normalizers = score_chunk(p, targets, temperature).log_normalizers;
    const at::Tensor q_normalizers = score_chunk(q, targets, temperature).log_normalizers;
    const int64_t vocab = p.size(1);
    double* out = result.mutable_data_ptr<double>() + row;
    RECORD_USER_SCOPE("leash::exact_kl");
    at::parallel_for(0, count, /*grain_size=*/1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        out[i] = kernels::row_kl(
            p.const_data_ptr<float>() + i * vocab, q.const_data_ptr<float>() + i * vocab, vocab,
            inverse_temperature(temperature), p_normalizers.const_data_ptr<double>()[i],
            q_normalizers.const_data_ptr<double>()[i]);
      }
    });
  }
  return result;
}

}  // namespace leash
