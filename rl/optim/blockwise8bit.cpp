#include "rl/optim/blockwise8bit.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/bucketize.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <vector>

namespace leash {
namespace {

constexpr int64_t kDecades = 7;

int64_t num_blocks(int64_t num_values) {
  return (num_values + kBlockSize8bit - 1) / kBlockSize8bit;
}

at::Tensor make_map(DynamicMap map) {
  std::vector<at::Tensor> parts{at::zeros({1}, at::kFloat), at::ones({1}, at::kFloat)};
  for (int64_t i = 0; i < kDecades; ++i) {
    const int64_t num_values = int64_t{1} << (map == DynamicMap::with_sign ? i : i + 1);
    const at::Tensor bounds = at::linspace(0.1, 1.0, num_values + 1, at::kFloat);
    const at::Tensor means =
        (bounds.narrow(0, 0, num_values) + bounds.narrow(0, 1, num_values)) / 2.0;
    const at::Tensor values = means * std::pow(10.0, static_cast<double>(i - kDecades + 1));
    parts.push_back(values);
    if (map == DynamicMap::with_sign) parts.push_back(-values);
  }
  return std::get<0>(at::cat(parts).sort());
}

// Half-way between neighbours: [255].
at::Tensor midpoints(const at::Tensor& map) {
  return (map.narrow(0, 0, 255) + map.narrow(0, 1, 255)) * 0.5;
}

}  // namespace

const at::Tensor& dynamic_map_values(DynamicMap map) {
  static const at::Tensor with_sign = make_map(DynamicMap::with_sign);
  static const at::Tensor without_sign = make_map(DynamicMap::without_sign);
  return map == DynamicMap::with_sign ? with_sign : without_sign;
}

BlockwiseCodes zero_codes(at::IntArrayRef shape, at::Device device) {
  const at::Tensor codes = at::zeros(shape, at::TensorOptions(at::kByte).device(device));
  return {codes,
          at::zeros({num_blocks(codes.numel())}, at::TensorOptions(at::kFloat).device(device))};
}

BlockwiseCodes quantize_blockwise(const at::Tensor& values, DynamicMap map) {
  const int64_t num_values = values.numel(), blocks = num_blocks(num_values);
  const at::Tensor flat = values.to(at::kFloat).reshape(-1);
  const at::Tensor rows = at::constant_pad_nd(flat, {0, blocks * kBlockSize8bit - num_values})
                              .view({blocks, kBlockSize8bit});
  const at::Tensor absmax = rows.abs().amax(1, /*keepdim=*/true);
  const at::Tensor scaled = rows * absmax.reciprocal();
  const at::Tensor bounds = midpoints(dynamic_map_values(map)).to(values.device());
  const at::Tensor codes =
      at::bucketize(scaled, bounds, /*out_int32=*/true).masked_fill_(absmax == 0, 0).to(at::kByte);
  return {codes.view(-1).narrow(0, 0, num_values).clone().view(values.sizes()), absmax.view(-1)};
}

at::Tensor dequantize_blockwise(const BlockwiseCodes& quantized, DynamicMap map) {
  const at::Tensor flat = quantized.codes.reshape(-1);
  const at::Tensor values = dynamic_map_values(map).to(flat.device());
  const at::Tensor scales =
      quantized.absmax.repeat_interleave(kBlockSize8bit).narrow(0, 0, flat.numel());
  return values.index_select(0, flat.to(at::kInt)).mul_(scales).view(quantized.codes.sizes());
}

}  // namespace leash
