// Weights in 8 bits with one scale per row (bitsandbytes' int8_vectorwise_quant without outliers):
// q = round(127 w / absmax), w = q absmax / 127.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "models/quant/packed_rows.h"

namespace leash {

struct Int8Matrix {
  at::Tensor codes;  // int8 [rows, columns]
  at::Tensor stats;  // fp32 [rows], absmax
};

// weight [rows, columns], converted to fp32. A row of zeros becomes zeros; TORCH_CHECK on values
// that are not finite.
Int8Matrix quantize_int8(const at::Tensor& weight);
std::shared_ptr<const PackedRows> int8_rows(Int8Matrix matrix);

}  // namespace leash
