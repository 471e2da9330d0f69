// Named tensors that live in a file: what the decoder is loaded from, whatever the format.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace leash {

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
  // For messages.
  virtual std::string origin() const = 0;
};

}  // namespace leash
