// Operations that are not linear layers (embeddings, norms), where adapters may hold trained copies
// of their weights.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "models/lora/adapter_rows.h"
#include "models/lora/lora.h"

namespace leash {

// An adapter's copies of a module's weight and bias; nullptr: the base's.
struct ModuleCopies {
  const at::Tensor* weight = nullptr;
  const at::Tensor* bias = nullptr;
  bool any() const { return weight != nullptr || bias != nullptr; }
};

inline ModuleCopies copies_of(const Adapter* adapter, int64_t module) {
  if (adapter == nullptr) return {};
  return {.weight = adapter->weight_copy(module), .bias = adapter->bias_copy(module)};
}

// Applies operation(rows, copies) range by range where an adapter has a copy of the module's weight
// or bias, else once.
template <class Operation>
at::Tensor by_range(const at::Tensor& x, int64_t module, const AdapterRows& adapters,
                    const Operation& operation) {
  const bool any = std::ranges::any_of(adapters.ranges, [&](const AdapterRows::Range& range) {
    return copies_of(range.adapter, module).any();
  });
  if (!any) return operation(x, ModuleCopies());
  std::vector<at::Tensor> outputs;
  int64_t row = 0;
  for (const AdapterRows::Range& range : adapters.ranges) {
    const int64_t rows = range.num_rows < 0 ? x.size(0) - row : range.num_rows;
    outputs.push_back(operation(x.narrow(0, row, rows), copies_of(range.adapter, module)));
    row += rows;
  }
  if (row < x.size(0))
    outputs.push_back(operation(x.narrow(0, row, x.size(0) - row), ModuleCopies()));
  return at::cat(outputs);
}

}  // namespace leash
