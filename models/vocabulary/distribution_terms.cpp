#include "models/vocabulary/distribution_terms.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/log_softmax.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>

#include "models/device/device.h"
#include "models/kernels/node.h"
#include "models/vocabulary/vocabulary_chunks.h"

namespace leash {
namespace {

// The distributions of some rows, and what both passes need of them.
struct TermsChunk {
  at::Tensor logits;     // [rows, vocab] of the policy, with their graph where one is asked for
  at::Tensor probs;      // [rows, vocab]
  at::Tensor log_probs;  // [rows, vocab]
  at::Tensor log_ratio;  // [rows, vocab] log p - log q; undefined without a reference

  at::Tensor entropies() const { return probs.mul(log_probs).sum(-1).neg(); }
  at::Tensor kl() const { return probs.mul(log_ratio).sum(-1); }
};

// All that the terms are a function of.
struct TermsInputs {
  at::Tensor hidden;  // detached
  VocabularyHead head;
  AdapterRows adapters;
  std::optional<ReferenceRows> reference;
  double temperature = 1.0;

  int64_t num_terms() const { return reference ? 2 : 1; }
  // Two sets of logits and their softmax stand side by side.
  int64_t step() const { return std::max<int64_t>(chunk_rows(head) / 4, 1); }
};

TermsChunk terms_chunk(const TermsInputs& in, const at::Tensor& part, int64_t row) {
  const int64_t count = part.size(0);
  TermsChunk chunk;
  chunk.logits = wide_logits(part, in.head, slice_rows(in.adapters, row, count));
  const c10::AutoGradMode no_grad(false);
  chunk.log_probs = at::log_softmax(chunk.logits.detach().div(in.temperature), -1);
  chunk.probs = chunk.log_probs.exp();
  if (!in.reference) return chunk;
  const at::Tensor q =
      on_device(wide_logits(in.reference->hidden.narrow(0, row, count), in.reference->head,
                            slice_rows(in.reference->adapters, row, count)),
                part.device());
  chunk.log_ratio = chunk.log_probs.sub(
      at::log_softmax(q.to(chunk.log_probs.scalar_type()).div(in.temperature), -1));
  return chunk;
}

// dL/dlogits where `gradient` [terms, rows] is dL/dterms: dH/dz = -p (log p + H) / T and
// dKL/dz = p (log p - log q - KL) / T.
at::Tensor terms_gradient(const TermsChunk& chunk, const at::Tensor& gradient, double temperature) {
  const auto column = [](const at::Tensor& values) { return values.unsqueeze(1); };
  at::Tensor result = chunk.log_probs.add(column(chunk.entropies())).mul(column(gradient[0])).neg();
  if (chunk.log_ratio.defined()) {
    result = result.add(chunk.log_ratio.sub(column(chunk.kl())).mul(column(gradient[1])));
  }
  return result.mul(chunk.probs).div(temperature);
}

torch::autograd::variable_list backward_terms(const TermsInputs& in,
                                              const torch::autograd::variable_list& trained,
                                              const at::Tensor& gradient) {
  torch::autograd::variable_list result(1 + trained.size());
  result[0] = at::empty(in.hidden.sizes(), in.hidden.options());
  for (int64_t row = 0; row < in.hidden.size(0); row += in.step()) {
    const int64_t count = std::min(in.step(), in.hidden.size(0) - row);
    torch::autograd::variable_list inputs{
        in.hidden.narrow(0, row, count).detach().requires_grad_(true)};
    inputs.insert(inputs.end(), trained.begin(), trained.end());
    TermsChunk chunk;
    {
      const c10::AutoGradMode with_grad(true);
      chunk = terms_chunk(in, inputs[0], row);
    }
    const at::Tensor dlogits =
        terms_gradient(chunk, gradient.narrow(1, row, count), in.temperature);
    const auto gradients =
        torch::autograd::grad({chunk.logits}, inputs, {dlogits}, /*retain_graph=*/std::nullopt,
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

at::Tensor distribution_terms(const at::Tensor& hidden, const VocabularyHead& head,
                              const AdapterRows& adapters,
                              const std::optional<ReferenceRows>& reference, double temperature) {
  TORCH_CHECK(hidden.dim() == 2 && temperature > 0,
              "distribution_terms: states are [rows, hidden], the temperature is above 0");
  TORCH_CHECK(!reference || reference->hidden.size(0) == hidden.size(0),
              "distribution_terms: policy and reference need the same rows");
  torch::autograd::variable_list inputs{hidden};
  const auto trained = trained_by_head(head, adapters);
  inputs.insert(inputs.end(), trained.begin(), trained.end());
  const bool differentiates = differentiable(inputs);
  const TermsInputs in{hidden.detach(), head, adapters, reference, temperature};
  const auto wide = hidden.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  at::Tensor terms = at::empty({in.num_terms(), hidden.size(0)}, in.hidden.options().dtype(wide));
  for (int64_t row = 0; row < hidden.size(0); row += in.step()) {
    const c10::AutoGradMode no_grad(false);
    const int64_t count = std::min(in.step(), hidden.size(0) - row);
    const TermsChunk chunk = terms_chunk(in, in.hidden.narrow(0, row, count), row);
    terms[0].narrow(0, row, count).copy_(chunk.entropies());
    if (reference) terms[1].narrow(0, row, count).copy_(chunk.kl());
  }
  if (!differentiates) return terms;
  return with_backward(
      terms, inputs, "DistributionTermsBackward",
      [in, trained](const at::Tensor& gradient) { return backward_terms(in, trained, gradient); });
}

}  // namespace leash
