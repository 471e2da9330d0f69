// From a checkpoint's tensors to a frozen weight, dense or quantised as the setting says.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/families/model_config.h"
#include "models/io/checkpoint.h"
#include "models/weights/weight_source.h"

namespace leash {

// Matrices of equally many columns, one below the other, as one weight that does not refer to the
// file any more, on `device`. Dense weights have `dtype`. With `keep` the weight is dense where
// none of the matrices is compressed in the file.
std::shared_ptr<const WeightSource> load_weight(const TensorSource& tensors,
                                                const std::vector<std::string>& names,
                                                at::ScalarType dtype, Quantize quantize,
                                                at::Device device = at::kCPU);

// The same for `--fast`: GGUF blocks keep their codes where byte_tiles can, all else is rounded to
// 8 bits.
std::shared_ptr<const WeightSource> load_fast_weight(const TensorSource& tensors,
                                                     const std::vector<std::string>& names);

// Why `model.quantize: keep` is no choice for a checkpoint: it has no matrix in fewer than 32 bits
// in GGUF blocks. nullopt where it is one.
std::optional<std::string> keep_problem(const Checkpoint& checkpoint);

}  // namespace leash
