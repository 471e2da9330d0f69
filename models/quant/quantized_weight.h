// Frozen weights that stay compressed in memory: y and dX are computed from them by tiles.
#pragma once

#include <memory>
#include <vector>

#include "models/quant/packed_rows.h"
#include "models/weights/weight_source.h"

namespace leash {

// The parts' rows one after another (q, k, v; gate, up); they may be of different kinds but have
// equally many columns and are on one device. Activations of fp32 and bf16 (and fp64, for tests);
// products are accumulated in fp32 (fp64), and nothing but a tile of the weight is ever dense.
// dense() and rows() give fp32. On a device that is not the CPU products are in the activations'
// type. Const and free of state: any number of threads may use it at once.
std::shared_ptr<const WeightSource> quantized_weight(
    std::vector<std::shared_ptr<const PackedRows>> parts);

}  // namespace leash
