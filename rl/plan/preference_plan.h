// What a frozen reference beside the policy takes in a task that learns from judged answers.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "models/families/model_config.h"
#include "models/lora/lora.h"
#include "rl/plan/activations.h"
#include "rl/plan/plan_parts.h"
#include "rl/reference/config.h"
#include "rl/run/run_config.h"

namespace leash {

struct ReferencePlan {
  PlanItem resident;
  std::optional<ModelFacts> model;  // with weights of its own
};
ReferencePlan plan_reference(const ReferenceConfig& reference, const ModelConfig& model,
                             const LoraConfig& lora, const AdapterFacts& adapter,
                             at::ScalarType dtype, Fsdp fsdp, int64_t ranks);

// A pass without gradients, of `rows` rows in all: the decoder or the head, whichever needs more.
PlanItem forward_item(const ModelFacts& model, at::ScalarType dtype, int64_t rows);

}  // namespace leash
