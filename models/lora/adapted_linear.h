// The one linear layer of the decoder: a frozen product, plus what adapters add to it, as a single
// autograd node.
//
//   y = x Wᵀ + bias                              for all rows
//   y[rows, columns] += s (drop(x) Aᵀ) Bᵀ        for each adapter's rows and each module's columns
//
// W is frozen: it gets no gradient, and the node saves its handle alone.
//
// Modules that read the same x (q, k, v; gate, up) share one product; each is a range of columns.
// The node saves x once and x Aᵀ per update. Where an adapter holds a trained copy of a weight or
// bias (modules_to_save, bias), that copy stands in for the base.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "models/lora/adapter_rows.h"
#include "models/weights/weight_source.h"

namespace leash {

struct LinearPart {
  int64_t module = 0;  // index in Decoder::modules()
  int64_t num_columns = 0;
};

struct LinearGroup {
  std::shared_ptr<const WeightSource> weight;
  std::optional<at::Tensor> bias;  // [columns], frozen
  std::vector<LinearPart> parts;   // their columns, one after another
};

// x [rows, in] -> [rows, columns]. `lengths` (rows per sequence) and `dropout` are only read when
// dropout is on.
at::Tensor adapted_linear(const at::Tensor& x, const LinearGroup& group,
                          const AdapterRows& adapters, const DropoutKey* dropout = nullptr,
                          const std::vector<int64_t>* lengths = nullptr);

}  // namespace leash
