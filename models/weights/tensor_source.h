// Named tensors that live in a file: what the decoder is loaded from, whatever the format.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/weights/block_type.h"

namespace leash {

// A matrix as blocks that were copied out of a file.
struct BlockMatrix {
  BlockType type = BlockType::f32;
  int64_t columns = 0;
  at::Tensor bytes;  // uint8 [rows, bytes of a row]; rows are whole blocks
};

class TensorSource {
 public:
  virtual ~TensorSource() = default;
  // All names, sorted.
  virtual std::vector<std::string> names() const = 0;
  virtual bool contains(std::string_view name) const = 0;
  // Shape of a tensor; FormatError when there is none of that name.
  virtual std::vector<int64_t> shape(std::string_view name) const = 0;
  // The values in `dtype`, on the CPU, dequantised where the file is quantised. May share memory
  // with the mapped file where the file already holds `dtype` (never write into it). FormatError
  // when there is none of that name.
  virtual at::Tensor read(std::string_view name, at::ScalarType dtype) const = 0;
  // A matrix of quantised blocks or of 16- or 32-bit floats as the file has it, rows in the order
  // of `read`; nullopt for every other tensor and for formats without blocks. FormatError when
  // there is none of that name.
  virtual std::optional<BlockMatrix> blocks(std::string_view /*name*/) const {
    return std::nullopt;
  }
  // The type that `blocks` would have, without reading them.
  virtual std::optional<BlockType> block_type(std::string_view /*name*/) const {
    return std::nullopt;
  }
  // For messages.
  virtual std::string origin() const = 0;
};

}  // namespace leash
