// NF4 (Dettmers et al. 2023, "QLoRA", section 3): 4-bit codes of the quantiles of a normal
// distribution, scaled per block of 64 values; the scales themselves are kept in 8 bits (double
// quantisation). The layout and the numbers are bitsandbytes'.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <memory>

#include "models/quant/packed_rows.h"

namespace leash {

inline constexpr int64_t kNf4Block = 64;         // values that share a scale; blocks cross rows
inline constexpr int64_t kNf4ScalesBlock = 256;  // scales that share a scale of their own

struct Nf4Matrix {
  int64_t rows = 0;
  int64_t columns = 0;
  at::Tensor codes;         // uint8 [(rows columns + 1) / 2]; the first value is in the high bits
  at::Tensor scale_codes;   // uint8 [blocks], indices into dynamic_map()
  at::Tensor scale_scales;  // fp32 [blocks / 256, rounded up]
  float scale_offset = 0;   // mean of the scales, which was taken off before they were quantised

  // fp32 [blocks]: map[code] scale + offset.
  at::Tensor scales() const;
};

// The 16 values of NF4 (QLoRA, appendix E).
const std::array<float, 16>& nf4_values();
// The signed dynamic map of 8 bits (Dettmers 2015, "8-Bit Approximations for Parallelism in Deep
// Learning"), sorted.
const std::array<float, 256>& dynamic_map();

// weight [rows, columns], converted to fp32. Codes are the nearest values, the lower one at a tie.
// TORCH_CHECK on values that are not finite.
Nf4Matrix quantize_nf4(const at::Tensor& weight);
std::shared_ptr<const PackedRows> nf4_rows(Nf4Matrix matrix);

}  // namespace leash
