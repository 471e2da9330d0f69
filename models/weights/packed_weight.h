// A frozen weight as this machine multiplies with it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "models/weights/weight_source.h"

namespace leash {

// weight [out, in] as panels where PackedMatrix::fits its type and device, else unpacked_weight.
// bf16 on a CPU takes activations in fp32, rounds them to bf16 where the product begins and gives
// fp32; so does rows(). May refer to `weight`, unless it was packed.
std::shared_ptr<const WeightSource> packed_weight(const at::Tensor& weight);
// One of PackedMatrix::panels() that are there already.
std::shared_ptr<const WeightSource> packed_weight(at::Tensor panels, int64_t out_features,
                                                  int64_t in_features);

// The same without panels: dense_weight, and for bf16 on a CPU what packed bf16 does, by parts of
// the weight in fp32.
std::shared_ptr<const WeightSource> unpacked_weight(const at::Tensor& weight);

// The panels of a weight that packed_weight made; undefined for any other.
at::Tensor packed_panels(const WeightSource& weight);

}  // namespace leash
