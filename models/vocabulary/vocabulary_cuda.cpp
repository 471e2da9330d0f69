#ifdef LEASH_CUDA
#include "models/vocabulary/vocabulary_cuda.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "models/device/device.h"
#include "models/vocabulary/running_softmax.h"
#include "models/vocabulary/temperature.h"
#include "models/vocabulary/vocabulary_kernels.h"

namespace leash::cuda {
namespace {

void check_logits(const at::Tensor& logits) {
  TORCH_CHECK(logits.is_cuda() && logits.scalar_type() == at::kFloat && logits.dim() == 2,
              "rows of logits on a GPU are fp32 [rows, vocab]");
}

Draws parts_of(const at::Tensor& all) {
  return {.tokens = all.select(0, 0).view(at::kLong),
          .logprobs = all.select(0, 1),
          .entropies = all.select(0, 2)};
}

// Side by side in one memory, so that one copy brings them to the host.
struct DrawMemory {
  at::Tensor all;
  Draws parts = parts_of(all);
  explicit DrawMemory(const at::Tensor& logits)
      : all(at::empty({3, logits.size(0)}, logits.options().dtype(at::kDouble))) {}
  Draws to_host() const { return parts_of(all.cpu()); }
};

}  // namespace

RowScores score_rows(const at::Tensor& given, const at::Tensor& targets, double temperature) {
  check_logits(given);
  const c10::cuda::CUDAGuard guard(given.device());
  const at::Tensor logits = given.contiguous(), wanted = targets.contiguous();
  const int64_t rows = logits.size(0);
  RowScores scores{.logprobs = at::empty({rows}, logits.options()),
                   .entropies = at::empty({rows}, logits.options()),
                   .log_normalizers = at::empty({rows}, logits.options().dtype(at::kDouble))};
  launch_score_rows(
      logits.const_data_ptr<float>(), wanted.const_data_ptr<int64_t>(), rows, logits.size(1),
      inverse_temperature(temperature), scores.logprobs.mutable_data_ptr<float>(),
      scores.entropies.mutable_data_ptr<float>(), scores.log_normalizers.mutable_data_ptr<double>(),
      c10::cuda::getCurrentCUDAStream().stream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return scores;
}

void logprob_backward(const at::Tensor& logits, const at::Tensor& targets, double temperature,
                      const at::Tensor& log_normalizers, const at::Tensor& gradient) {
  check_logits(logits);
  TORCH_CHECK(logits.is_contiguous(), "logprob_backward writes into contiguous logits");
  const c10::cuda::CUDAGuard guard(logits.device());
  const at::Tensor wanted = targets.contiguous(), normalizers = log_normalizers.contiguous();
  const at::Tensor g = gradient.to(at::kFloat).contiguous();
  launch_logprob_backward(logits.mutable_data_ptr<float>(), wanted.const_data_ptr<int64_t>(),
                          logits.size(0), logits.size(1), inverse_temperature(temperature),
                          normalizers.const_data_ptr<double>(), g.const_data_ptr<float>(),
                          c10::cuda::getCurrentCUDAStream().stream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

Draws sample_rows(const at::Tensor& given, double temperature, std::span<const double> uniforms) {
  check_logits(given);
  const c10::cuda::CUDAGuard guard(given.device());
  const at::Tensor logits = given.contiguous();
  const int64_t rows = logits.size(0), vocab = logits.size(1);
  const at::Tensor drawn =
      on_device(at::tensor(at::ArrayRef<double>(uniforms.data(), uniforms.size()), at::kDouble),
                logits.device());
  const at::Tensor scratch = at::empty({rows, (vocab + kSampledPart - 1) / kSampledPart},
                                       logits.options().dtype(at::kDouble));
  const DrawMemory draws(logits);
  launch_sample_rows(logits.const_data_ptr<float>(), drawn.const_data_ptr<double>(), rows, vocab,
                     inverse_temperature(temperature), scratch.mutable_data_ptr<double>(),
                     draws.parts.tokens.mutable_data_ptr<int64_t>(),
                     draws.parts.logprobs.mutable_data_ptr<double>(),
                     draws.parts.entropies.mutable_data_ptr<double>(),
                     c10::cuda::getCurrentCUDAStream().stream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return draws.to_host();
}

Draws pick_largest(const at::Tensor& given) {
  check_logits(given);
  const c10::cuda::CUDAGuard guard(given.device());
  const at::Tensor logits = given.contiguous();
  const DrawMemory draws(logits);
  launch_pick_largest(logits.const_data_ptr<float>(), logits.size(0), logits.size(1),
                      draws.parts.tokens.mutable_data_ptr<int64_t>(),
                      draws.parts.logprobs.mutable_data_ptr<double>(),
                      draws.parts.entropies.mutable_data_ptr<double>(),
                      c10::cuda::getCurrentCUDAStream().stream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return draws.to_host();
}

}  // namespace leash::cuda
#endif
