#ifdef LEASH_CUDA
#include "models/quant/decode_cuda.h"

#include <ATen/ops/tensor.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <map>
#include <mutex>

#include "models/quant/decode_kernels.h"

namespace leash::cuda {
namespace {

// The map of 8-bit scales on each GPU, copied once.
at::Tensor dynamic_map_on(at::Device device) {
  static std::mutex mutex;
  static auto* const maps = new std::map<int, at::Tensor>;  // outlives the driver's own statics
  const std::lock_guard lock(mutex);
  at::Tensor& map = (*maps)[device.index()];
  if (!map.defined()) map = at::tensor(at::ArrayRef<float>(dynamic_map()), at::kFloat).to(device);
  return map;
}

void check_output(const at::Tensor& out) {
  TORCH_CHECK(out.is_cuda() && out.is_contiguous() && out.scalar_type() == at::kFloat,
              "decoding on a GPU writes contiguous fp32 there");
}

}  // namespace

void decode_blocks(BlockType type, const at::Tensor& bytes, const at::Tensor& out) {
  check_output(out);
  TORCH_CHECK(bytes.device() == out.device() && bytes.is_contiguous() &&
                  bytes.numel() == block_bytes(type, out.numel()),
              "decode_blocks: the bytes do not belong to the output");
  const c10::cuda::CUDAGuard guard(out.device());
  const BlockFormat& format = block_format(type);
  launch_decode_blocks(type, bytes.const_data_ptr<uint8_t>(), format.values, format.bytes,
                       out.numel(), out.mutable_data_ptr<float>(),
                       c10::cuda::getCurrentCUDAStream().stream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

void decode_nf4(const Nf4Matrix& matrix, int64_t begin, const at::Tensor& out) {
  check_output(out);
  TORCH_CHECK(begin >= 0 && begin + out.numel() <= matrix.rows * matrix.columns,
              "decode_nf4: values beyond the matrix");
  const c10::cuda::CUDAGuard guard(out.device());
  const at::Tensor map = dynamic_map_on(out.device());
  const Nf4Pointers pointers{.codes = matrix.codes.const_data_ptr<uint8_t>(),
                             .scale_codes = matrix.scale_codes.const_data_ptr<uint8_t>(),
                             .scale_scales = matrix.scale_scales.const_data_ptr<float>(),
                             .dynamic_map = map.const_data_ptr<float>(),
                             .scale_offset = matrix.scale_offset};
  launch_decode_nf4(pointers, begin, out.numel(), out.mutable_data_ptr<float>(),
                    c10::cuda::getCurrentCUDAStream().stream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

}  // namespace leash::cuda
#endif
