// Who holds memory on a device, and what to lower where it does not suffice: for the message of
// OutOfMemory.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "models/device/out_of_memory.h"
#include "rl/run/run_config.h"
#include "rl/training/parts.h"

namespace leash {

// Collects uses; a base that roles share counts once.
class MemoryUses {
 public:
  void weights(const std::string& who, const Decoder& decoder);
  void add(MemoryUse use) { others_.push_back(std::move(use)); }
  std::vector<MemoryUse> all() const;

 private:
  std::vector<std::pair<const Decoder*, MemoryUse>> by_decoder_;
  std::vector<MemoryUse> others_;
};

// One role's leaves with gradients and moments: four numbers where there is one (8-bit optimizers
// keep less).
MemoryUse trained_use(const std::string& who, const std::vector<at::Tensor>& leaves);

// Weights, and what trains with its gradients.
std::vector<MemoryUse> memory_uses(const TrainedModel& model);

// Settings with their values, those first that the phase depends on most.
std::vector<std::string> settings_to_lower(const TrainingConfig& config);
// While models are loaded.
std::vector<std::string> settings_to_lower(const ModelConfig& model, const RunConfig& run,
                                           bool several_roles);

}  // namespace leash
