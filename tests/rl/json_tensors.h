// Golden files in JSON: nested lists of numbers to tensors.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/files.h"

namespace leash::testing {

inline nlohmann::json read_golden(const std::string& name) {
  std::ifstream stream(repository("tests/golden/" + name));
  return nlohmann::json::parse(stream);
}

inline void flatten(const nlohmann::json& value, std::vector<double>& numbers) {
  if (value.is_array()) {
    for (const auto& entry : value) flatten(entry, numbers);
  } else {
    numbers.push_back(value.is_boolean() ? (value.get<bool>() ? 1.0 : 0.0) : value.get<double>());
  }
}

// A (nested) list or a number, in `dtype`.
inline at::Tensor to_tensor(const nlohmann::json& value, at::ScalarType dtype = at::kDouble) {
  std::vector<int64_t> shape;
  for (const auto* level = &value; level->is_array(); level = &level->front()) {
    shape.push_back(static_cast<int64_t>(level->size()));
  }
  std::vector<double> numbers;
  flatten(value, numbers);
  at::Tensor result = at::empty(shape, at::kDouble);
  std::copy(numbers.begin(), numbers.end(), result.mutable_data_ptr<double>());
  return result.to(dtype);
}

// A leaf that records a gradient.
inline at::Tensor leaf(const at::Tensor& values) {
  at::Tensor result = values.clone();
  result.requires_grad_(true);
  return result;
}

}  // namespace leash::testing
