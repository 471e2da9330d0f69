#include "rl/plan/preference_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "models/decoder/load_weight.h"
#include "models/io/checkpoint.h"
#include "rl/reference/reference.h"

namespace leash {

ReferencePlan plan_reference(const ReferenceConfig& reference, const ModelConfig& model,
                             const LoraConfig& lora, const AdapterFacts& adapter,
                             at::ScalarType dtype, Fsdp fsdp, int64_t ranks) {
  switch (reference_kind(reference, lora)) {
    case ReferenceKind::adapter_off:
    case ReferenceKind::follow:  // refused by the tasks on pairs
      break;
    case ReferenceKind::adapter: {
      const int64_t numbers =
          reference.path ? parameters_of_file(reference.path->name) : adapter.num_parameters();
      return {.resident = {"reference: adapter", numbers * wide_bytes(dtype), "frozen"},
              .model = {}};
    }
    case ReferenceKind::model: {
      const ModelFacts facts = facts_of(open_checkpoint(resolve_model(*reference.path)));
      const bool keeps_nothing = model.quantize == Quantize::keep && facts.tensors != nullptr &&
                                 keep_problem({facts.name, facts.config, facts.tensors});
      const Quantize quantize = keeps_nothing ? Quantize::none : model.quantize;
      const bool sharded = fsdp == Fsdp::full_shard && quantize == Quantize::none;
      return {.resident = sharded ? sharded_item("reference: model", facts, dtype, ranks)
                                  : weights_item("reference: model", facts, dtype, quantize),
              .model = facts};
    }
  }
  return {.resident = {"reference", 0, "the base with the adapter off"}, .model = {}};
}

PlanItem forward_item(const ModelFacts& model, at::ScalarType dtype, int64_t rows) {
  return {"a forward pass or the head, whichever needs more",
          std::max(head_scratch_bytes(model, dtype, rows, rows, /*gradients=*/false),
                   forward_scratch_bytes(model, dtype, rows)),
          fmt::format("{} rows", rows)};
}

}  // namespace leash
