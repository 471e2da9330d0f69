#include "models/quant/device_decoding.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>

#include <array>
#include <span>

#include "models/device/device.h"

#ifdef LEASH_CUDA
#include "models/quant/decode_cuda.h"
#endif

namespace leash {
namespace {

void decode_blocks_on_host(BlockType type, const at::Tensor& bytes, const at::Tensor& out) {
  const at::Tensor here = bytes.cpu().contiguous();
  const at::Tensor values = at::empty(out.sizes(), at::kFloat);
  dequantize(
      type,
      {static_cast<const std::byte*>(here.const_data_ptr()), static_cast<size_t>(here.numel())},
      values.numel(), values.mutable_data_ptr<float>());
  out.copy_(values);
}

template <size_t kSize>
at::Tensor table(const std::array<float, kSize>& values, at::Device device) {
  return on_device(at::tensor(at::ArrayRef<float>(values), at::kFloat), device);
}

}  // namespace

void decode_blocks_on_device(BlockType type, const at::Tensor& bytes, const at::Tensor& out) {
#ifdef LEASH_CUDA
  if (out.is_cuda()) return cuda::decode_blocks(type, bytes, out);
#endif
  decode_blocks_on_host(type, bytes, out);
}

void decode_nf4_plain(const Nf4Matrix& matrix, int64_t begin, const at::Tensor& out) {
  const at::Device device = out.device();
  const auto whole = at::TensorOptions(at::kLong).device(device);
  const at::Tensor place = at::arange(begin, begin + out.numel(), whole);
  const at::Tensor bytes = matrix.codes.index_select(0, place.bitwise_right_shift(1)).to(at::kLong);
  const at::Tensor codes =
      at::where(place.bitwise_and(1).eq(1), bytes.bitwise_and(15), bytes.bitwise_right_shift(4));
  const at::Tensor block = place.div(kNf4Block, "floor");
  const at::Tensor scale_codes = matrix.scale_codes.index_select(0, block).to(at::kLong);
  const at::Tensor scales =
      table(dynamic_map(), device)
          .index_select(0, scale_codes)
          .mul(matrix.scale_scales.index_select(0, block.div(kNf4ScalesBlock, "floor")))
          .add(matrix.scale_offset);
  out.copy_(table(nf4_values(), device).index_select(0, codes).mul(scales).view(out.sizes()));
}

void decode_nf4_on_device(const Nf4Matrix& matrix, int64_t begin, const at::Tensor& out) {
#ifdef LEASH_CUDA
  if (out.is_cuda()) return cuda::decode_nf4(matrix, begin, out);
#endif
  decode_nf4_plain(matrix, begin, out);
}

}  // namespace leash
