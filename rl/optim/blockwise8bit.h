// Block-wise 8-bit numbers with the dynamic map (Dettmers, Lewis, Shleifer & Zettlemoyer 2022,
// "8-bit Optimizers via Block-wise Quantization", section 2): x ≈ absmax(block) map[code].
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace leash {

inline constexpr int64_t kBlockSize8bit = 256;

enum class DynamicMap { with_sign, without_sign };

// The 256 values in rising order, bit for bit bitsandbytes' create_dynamic_map: seven decades from
// 1e-6 to 1, of which each has twice the values of the one below, and 0 and 1. float32 [256].
const at::Tensor& dynamic_map_values(DynamicMap map);

struct BlockwiseCodes {
  at::Tensor codes{};   // uint8, the shape of what they stand for
  at::Tensor absmax{};  // [ceil(n / 256)] float32
};

// The codes of all zeros, whose absmax is 0.
BlockwiseCodes zero_codes(at::IntArrayRef shape, at::Device device);
// The nearest value of the map in each place (of two equally near ones the lower), blocks in the
// order of contiguous memory. A block of zeros gets code 0. A block that holds a number that is not
// finite gives an absmax that is not finite, so that the damage stays visible.
BlockwiseCodes quantize_blockwise(const at::Tensor& values, DynamicMap map);
// float32, the shape of the codes.
at::Tensor dequantize_blockwise(const BlockwiseCodes& quantized, DynamicMap map);

}  // namespace leash
