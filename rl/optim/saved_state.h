// Reading an optimizer's saved state: every tensor is checked against what it stands for.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace leash {

// Names and tensors, as safetensors files hold them.
using OptimizerState = std::vector<std::pair<std::string, at::Tensor>>;

class SavedState {
 public:
  // FormatError unless the state holds exactly `num_tensors` tensors of distinct names.
  SavedState(const OptimizerState& state, size_t num_tensors);

  // A copy with the shape, dtype and device of `like`. FormatError when there is no such name, when
  // shape or dtype differ, or when a floating-point number is not finite.
  at::Tensor take(const std::string& name, const at::Tensor& like) const;
  // The same for what cannot be negative either (averages of squares, scales of blocks).
  at::Tensor take_nonnegative(const std::string& name, const at::Tensor& like) const;
  // An update count: an int64 scalar from 0 to 2^53.
  int64_t take_step(const std::string& name) const;

 private:
  const at::Tensor& find(const std::string& name) const;

  std::map<std::string, at::Tensor> tensors_;
};

}  // namespace leash
