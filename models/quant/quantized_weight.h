// Frozen weights that stay compressed in memory: y and dX are computed from them by tiles.
#pragma once

#include <memory>
#include <vector>

#include "models/quant/packed_rows.h"
#include "models/weights/weight_source.h"

namespace leash {

// The parts' rows one after another (q, k, v; gate, up); they may be of different kinds but have
// equally many columns and are on one device. On a CPU activations are of fp32 or bf16 (or fp64,
// for tests) and products accumulate in fp32 (fp64); with `dtype` bfloat16 both factors are rounded
// to bf16 first. Nothing but a part of the weight is ever dense. dense() and rows() give fp32. On
// other devices products are in the activations' type. Const and free of state: any number of
// threads may use it at once.
std::shared_ptr<const WeightSource> quantized_weight(
    std::vector<std::shared_ptr<const PackedRows>> parts, at::ScalarType dtype = at::kFloat);

}  // namespace leash
