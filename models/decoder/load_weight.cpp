#include "models/decoder/load_weight.h"

#include <ATen/ops/cat.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "models/kernels/packed_product.h"
#include "models/quant/byte_tiles.h"
#include "models/quant/fast_weight.h"
#include "models/quant/int8.h"
#include "models/quant/nf4.h"
#include "models/quant/packed_rows.h"
#include "models/quant/quantized_weight.h"
#include "models/weights/packed_weight.h"

namespace leash {
namespace {

using Parts = std::vector<std::shared_ptr<const PackedRows>>;

std::shared_ptr<const WeightSource> dense(const TensorSource& tensors,
                                          const std::vector<std::string>& names,
                                          at::ScalarType dtype, at::Device device) {
  std::vector<at::Tensor> weights;
  for (const std::string& name : names) weights.push_back(tensors.read(name, dtype));
  // cat and panels are copies, so that nothing refers to the mapped file any more.
  if (PackedMatrix::fits(dtype, device) && weights.size() == 1) return packed_weight(weights[0]);
  return packed_weight(at::cat(weights).to(device));
}

std::shared_ptr<const WeightSource> kept(const TensorSource& tensors,
                                         const std::vector<std::string>& names,
                                         at::ScalarType dtype, at::Device device) {
  Parts parts;
  bool compressed = false;
  for (const std::string& name : names) {
    const auto blocks = tensors.blocks(name);
    if (!blocks) return dense(tensors, names, dtype, device);
    compressed = compressed || is_compressed(blocks->type);
    parts.push_back(packed_rows(*blocks, tensors.origin() + ": " + name)->to(device));
  }
  return compressed ? quantized_weight(std::move(parts), dtype)
                    : dense(tensors, names, dtype, device);
}

}  // namespace

std::shared_ptr<const WeightSource> load_weight(const TensorSource& tensors,
                                                const std::vector<std::string>& names,
                                                at::ScalarType dtype, Quantize quantize,
                                                at::Device device) {
  if (quantize == Quantize::none) return dense(tensors, names, dtype, device);
  if (quantize == Quantize::keep) return kept(tensors, names, dtype, device);
  Parts parts;
  for (const std::string& name : names) {
    const at::Tensor weight = tensors.read(name, at::kFloat);
    const auto rows = quantize == Quantize::nf4 ? nf4_rows(quantize_nf4(weight))
                                                : int8_rows(quantize_int8(weight));
    parts.push_back(rows->to(device));
  }
  return quantized_weight(std::move(parts), dtype);
}

std::shared_ptr<const WeightSource> load_fast_weight(const TensorSource& tensors,
                                                     const std::vector<std::string>& names) {
  std::vector<ByteTiles> parts;
  for (const std::string& name : names) {
    const std::string origin = tensors.origin() + ": " + name;
    const auto blocks = tensors.blocks(name);
    parts.push_back(blocks ? byte_tiles(*blocks, origin)
                           : byte_tiles(tensors.read(name, at::kFloat), origin));
  }
  return fast_weight(std::move(parts));
}

std::optional<std::string> keep_problem(const Checkpoint& checkpoint) {
  for (const std::string& name : checkpoint.tensors->names()) {
    const auto type = checkpoint.tensors->block_type(name);
    if (type && is_compressed(*type)) return std::nullopt;
  }
  return fmt::format(
      "{}: quantize `keep` leaves a GGUF's quantised blocks as they are, but this model has none; "
      "use nf4 or int8 to quantise it on load, or none",
      checkpoint.path.string());
}

}  // namespace leash
