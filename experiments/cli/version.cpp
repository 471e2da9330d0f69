#include "experiments/cli/version.h"

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <fmt/format.h>
#include <torch/version.h>

#include "git_version.h"  // generated: LEASH_GIT
#include "models/decoder/exact_rows.h"
#include "models/kernels/packed_product.h"

#ifdef LEASH_CUDA
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAFunctions.h>
#include <cuda_runtime_api.h>
#endif

namespace leash::cli {
namespace {

std::string gpus() {
#ifdef LEASH_CUDA
  std::string text = fmt::format("CUDA {}.{}", CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
  const int count = c10::cuda::device_count();
  for (int i = 0; i < count; ++i) {
    text += fmt::format(", cuda:{} {}", i, at::cuda::getDeviceProperties(i)->name);
  }
  return count == 0 ? text + ", no GPU here" : text;
#else
  return "without CUDA";
#endif
}

}  // namespace

std::string semantic_version() { return LEASH_VERSION; }

std::string version_text() {
  return fmt::format(
      "leash {} (git {}, {})\n"
      "LibTorch {}, CPU capability {}, {} threads\n"
      "own products on a CPU: {}; log-probs of sampling and training {}\n"
      "{}\n",
      LEASH_VERSION, LEASH_GIT, LEASH_BUILD_TYPE, TORCH_VERSION, at::get_cpu_capability(),
      at::get_num_threads(), own_products(),
      machine_has_exact_rows() ? "are the same bits"
                               : "differ by rounding (no AVX-512; bfloat16 computes them again)",
      gpus());
}

}  // namespace leash::cli
