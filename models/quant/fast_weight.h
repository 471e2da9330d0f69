// Frozen weights for `generate --fast`: 8-bit products, without gradients.
#pragma once

#include <memory>
#include <vector>

#include "models/quant/byte_tiles.h"
#include "models/weights/weight_source.h"

namespace leash {

// The parts' rows one after another; equally many columns. Activations of fp32 and bf16 are rounded
// to 8 bits per block of 32; results come in their type. multiply_transposed is refused: what
// trains needs the weights as they are. dense() and rows() give fp32.
std::shared_ptr<const WeightSource> fast_weight(std::vector<ByteTiles> parts);

}  // namespace leash
