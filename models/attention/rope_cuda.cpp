#ifdef LEASH_CUDA
#include "models/attention/rope_cuda.h"

#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "models/attention/rope_kernels.h"

namespace leash::cuda {

at::Tensor rotate(const at::Tensor& x, const at::Tensor& positions, const RopeTable& table,
                  float sign) {
  TORCH_CHECK(x.is_cuda() && x.dim() == 3 &&
                  (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16),
              "rotate on a GPU takes fp32 or bf16 [tokens, heads, head_dim]");
  const c10::cuda::CUDAGuard guard(x.device());
  const bool in_rows = x.stride(2) == 1 && x.stride(1) == x.size(2);
  const at::Tensor input = in_rows ? x : x.contiguous();
  const at::Tensor places = positions.contiguous();
  const at::Tensor y = at::empty(input.sizes(), input.options());
  const RotatedRows rows{.rows = input.size(0),
                         .heads = input.size(1),
                         .size = input.size(2),
                         .row_stride = input.stride(0),
                         .half = table.cosines.size(1),
                         .positions = places.const_data_ptr<int64_t>(),
                         .cosines = table.cosines.const_data_ptr<float>(),
                         .sines = table.sines.const_data_ptr<float>(),
                         .sign = sign};
  void* const stream = c10::cuda::getCurrentCUDAStream().stream();
  if (input.scalar_type() == at::kFloat) {
    launch_rotate(rows, input.const_data_ptr<float>(), y.mutable_data_ptr<float>(), stream);
  } else {
    launch_rotate_bfloat16(rows, input.const_data_ptr(), y.mutable_data_ptr(), stream);
  }
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return y;
}

}  // namespace leash::cuda
#endif
