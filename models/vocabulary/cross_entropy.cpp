#include "models/vocabulary/cross_entropy.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <vector>

#include "models/device/device.h"
#include "models/kernels/kernels.h"
#include "models/kernels/node.h"
#include "models/kernels/softmax_blocks.h"
#include "models/vocabulary/vocabulary_chunks.h"

#ifdef LEASH_CUDA
#include "models/vocabulary/vocabulary_cuda.h"
#endif

namespace leash {
namespace {

// Sums over rows.
struct Sums {
  double nll = 0;      // -log p[target]
  double uniform = 0;  // -mean over the vocabulary of log p
  int64_t correct = 0;
};

// Turns logits into dL/dlogits = (p - (1 - ε) onehot - ε / V) / normalizer where `gradient`; what
// `log_probs` are of is left alone otherwise. ATen alone, for float64 and for other devices.
Sums plain_chunk(at::Tensor& logits, const at::Tensor& targets, double epsilon, double normalizer,
                 bool gradient) {
  const at::Tensor log_p = at::log_softmax(logits, -1);
  const at::Tensor index = targets.unsqueeze(1);
  const Sums sums{.nll = -log_p.gather(1, index).sum(at::kDouble).item<double>(),
                  .uniform = -log_p.mean(-1).sum(at::kDouble).item<double>()};
  if (gradient) {
    at::Tensor d = log_p.exp();
    d.scatter_add_(1, index, at::full(index.sizes(), -(1.0 - epsilon), d.options()));
    logits = d.sub_(epsilon / static_cast<double>(d.size(1))).div_(normalizer);
  }
  return sums;
}

#ifdef LEASH_CUDA
// The same with the kernels of a GPU, in place, without label smoothing.
Sums cuda_chunk(at::Tensor& logits, const at::Tensor& targets, double /*epsilon*/,
                double normalizer, bool gradient) {
  const cuda::RowScores scores = cuda::score_rows(logits, targets, /*temperature=*/1.0);
  if (gradient) {
    const at::Tensor share = at::full({logits.size(0)}, -1.0 / normalizer, logits.options());
    cuda::logprob_backward(logits, targets, 1.0, scores.log_normalizers, share);
  }
  return {.nll = -scores.logprobs.sum(at::kDouble).item<double>()};
}
#endif

// The same with the fused kernels, in place.
Sums kernel_chunk(at::Tensor& logits, const at::Tensor& targets, double epsilon, double normalizer,
                  bool gradient) {
  const int64_t rows = logits.size(0);
  const int64_t vocab = logits.size(1);
  std::vector<double> nll(rows), uniform(rows, 0.0);
  const at::Tensor means = epsilon > 0 ? logits.mean(-1, false, at::kDouble) : at::Tensor();
  float* pl = logits.mutable_data_ptr<float>();
  const int64_t* pt = targets.const_data_ptr<int64_t>();
  const auto share = static_cast<float>(epsilon / static_cast<double>(vocab) / normalizer);
  RECORD_USER_SCOPE("leash::cross_entropy");
  at::parallel_for(0, rows, /*grain_size=*/1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      float* const logit = pl + row * vocab;
      const double log_z =
          kernels::softmax_blocks({logit, static_cast<size_t>(vocab)}, 1.0f, /*keep_blocks=*/false)
              .log_normalizer;
      nll[row] = log_z - static_cast<double>(logit[pt[row]]);
      if (epsilon > 0) uniform[row] = log_z - means.const_data_ptr<double>()[row];
      if (!gradient) continue;
      kernels::logprob_backward(logit, vocab, 1.0f, log_z, pt[row],
                                static_cast<float>(-1.0 / normalizer));
      if (epsilon == 0) continue;
      for (int64_t v = 0; v < vocab; ++v) logit[v] -= share;
      logit[pt[row]] += static_cast<float>(epsilon / normalizer);
    }
  });
  Sums sums;
  for (int64_t row = 0; row < rows; ++row) {
    sums.nll += nll[row];
    sums.uniform += uniform[row];
  }
  return sums;
}

// One chunk's sums; `gradients` (of hidden and of what the head trains) where they are wanted.
Sums run_chunk(const torch::autograd::variable_list& inputs, const VocabularyHead& head,
               const AdapterRows& adapters, const at::Tensor& targets, double epsilon,
               double normalizer, torch::autograd::variable_list* gradients) {
  at::Tensor output;
  {
    const c10::AutoGradMode with_grad(gradients != nullptr);
    output = wide_logits(inputs[0], head, adapters);
  }
  at::Tensor logits = output.detach();
  const at::Tensor at_target = logits.gather(1, targets.unsqueeze(1)).squeeze(1);
  const int64_t correct = at_target.ge(logits.amax(-1)).sum().item<int64_t>();
  auto chunk = use_kernel(logits) ? kernel_chunk : plain_chunk;
#ifdef LEASH_CUDA
  if (logits.is_cuda() && logits.scalar_type() == at::kFloat && epsilon == 0) {
    logits = logits.contiguous();
    chunk = cuda_chunk;
  }
#endif
  Sums sums = chunk(logits, targets, epsilon, normalizer, gradients != nullptr);
  sums.correct = correct;
  if (gradients != nullptr) {
    *gradients = torch::autograd::grad({output}, inputs, {logits}, /*retain_graph=*/std::nullopt,
                                       /*create_graph=*/false, /*allow_unused=*/true);
  }
  return sums;
}

}  // namespace

CrossEntropy vocabulary_cross_entropy(const at::Tensor& hidden, const VocabularyHead& head,
                                      const at::Tensor& targets, double label_smoothing,
                                      double normalizer, const AdapterRows& adapters) {
  TORCH_CHECK(hidden.dim() == 2 && targets.dim() == 1 && hidden.size(0) == targets.size(0),
              "cross_entropy: one target per row of hidden");
  TORCH_CHECK(normalizer > 0 && label_smoothing >= 0 && label_smoothing < 1,
              "cross_entropy: normalizer ", normalizer, ", label_smoothing ", label_smoothing);
  const auto trained = trained_by_head(head, adapters);
  torch::autograd::variable_list inputs{hidden};
  inputs.insert(inputs.end(), trained.begin(), trained.end());
  const bool gradient = differentiable(inputs);
  const at::Tensor picked = on_device(targets.contiguous(), hidden.device());
  torch::autograd::variable_list total(inputs.size());
  if (gradient) total[0] = at::empty(hidden.sizes(), hidden.options().requires_grad(false));
  Sums sums;
  {
    const c10::AutoGradMode no_grad(false);
    const int64_t step = chunk_rows(head);
    for (int64_t row = 0; row < hidden.size(0); row += step) {
      const int64_t count = std::min(step, hidden.size(0) - row);
      torch::autograd::variable_list leaves = inputs;
      leaves[0] = hidden.narrow(0, row, count).detach().requires_grad_(gradient);
      torch::autograd::variable_list parts;
      const Sums chunk =
          run_chunk(leaves, head, slice_rows(adapters, row, count), picked.narrow(0, row, count),
                    label_smoothing, normalizer, gradient ? &parts : nullptr);
      sums.nll += chunk.nll;
      sums.uniform += chunk.uniform;
      sums.correct += chunk.correct;
      if (!gradient) continue;
      total[0].narrow(0, row, count).copy_(parts[0]);
      for (size_t i = 1; i < parts.size(); ++i) {
        if (!parts[i].defined()) continue;
        total[i] = total[i].defined() ? total[i].add_(parts[i]) : parts[i];
      }
    }
  }
  const double value =
      ((1.0 - label_smoothing) * sums.nll + label_smoothing * sums.uniform) / normalizer;
  at::Tensor loss =
      at::scalar_tensor(value, hidden.options().dtype(at::kDouble).requires_grad(false));
  if (gradient) {
    loss = with_backward(loss, inputs, "CrossEntropyBackward", [total](const at::Tensor& scale) {
      torch::autograd::variable_list result;
      for (const at::Tensor& part : total) {
        result.push_back(part.defined() ? part.mul(scale.item<double>()) : part);
      }
      return result;
    });
  }
  return {.loss = loss, .nll = sums.nll, .correct = sums.correct};
}

}  // namespace leash
