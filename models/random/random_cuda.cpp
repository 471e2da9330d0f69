#ifdef LEASH_CUDA
#include "models/random/random_cuda.h"

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "models/random/random_kernels.h"

namespace leash::cuda {

void fill_uniform(const PhiloxStream& draws, const UniformInterval& interval,
                  const at::Tensor& out) {
  TORCH_CHECK(out.is_cuda() && out.is_contiguous() && out.scalar_type() == at::kFloat,
              "draws on a GPU are contiguous fp32 there");
  const c10::cuda::CUDAGuard guard(out.device());
  launch_uniforms(draws, interval, out.numel(), out.mutable_data_ptr<float>(),
                  c10::cuda::getCurrentCUDAStream().stream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

}  // namespace leash::cuda
#endif
