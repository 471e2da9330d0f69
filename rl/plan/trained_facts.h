// What an adapter trains, by its shapes: nothing is allocated.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "models/lora/lora.h"
#include "rl/optim/optimizer.h"
#include "rl/plan/model_facts.h"

namespace leash {

struct AdapterFacts {
  std::vector<int64_t> ranks = {};       // by module; 0: no update
  std::vector<bool> weight_copies = {};  // by module: trains whole
  std::vector<std::vector<int64_t>> shapes =
      {};  // of all trained tensors, as Adapter::parameters()
  double dropout = 0.0;
  int64_t counted_in_base = 0;  // trained numbers that PEFT counts as the base's own (biases)

  bool touches(int64_t module) const;
  int64_t num_parameters() const;
  int64_t largest() const;  // elements of the largest tensor
};

// What `lora:` makes over these modules (lora.path: its configuration alone is read). ConfigError
// as Adapter::create.
AdapterFacts adapter_facts(const LoraConfig& config, const std::vector<ModuleInfo>& modules);
// A model whose every weight trains, without a projection onto the vocabulary.
AdapterFacts full_copy_facts(const std::vector<ModuleInfo>& modules);

// Optimizer::state_bytes() for tensors of these shapes, whose elements take `element` bytes.
int64_t optimizer_bytes(OptimizerKind kind, const std::vector<std::vector<int64_t>>& shapes,
                        int64_t element);

// Numbers in the tensors of an adapter's file, from its header.
int64_t parameters_of_file(const std::filesystem::path& folder);

}  // namespace leash
