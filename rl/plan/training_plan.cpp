// The plans of the tasks that train one model on examples.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "models/device/device.h"
#include "rl/classification/task.h"
#include "rl/dpo/task.h"
#include "rl/plan/plan.h"
#include "rl/plan/plan_parts.h"
#include "rl/plan/preference_plan.h"
#include "rl/reward_model/task.h"
#include "rl/sft/task.h"

namespace leash {
namespace {

// What they have in common, once the length of a row is known.
struct Training {
  const TrainingConfig& config;
  const ModelConfig& model;
  const RunConfig& run;
  const ModelDevice& devices;
  int64_t row_tokens = 0;  // of a row: a sample, or both answers of a pair
  bool scores = false;     // the head is a score, not the vocabulary
  bool dropout = false;
  int64_t sums_bytes = 0;
  std::optional<ReferencePlan> reference = {};
  bool scores_reference = false;  // in every pass
};

PassShape pass_of(const Training& training, int64_t rows) {
  return {.rows = rows,
          .recompute = training.model.gradient_checkpointing,
          .dropout = training.dropout};
}

PlanPhase update_phase(const Training& training, const ModelFacts& facts, at::ScalarType dtype,
                       const AdapterFacts& adapter, const PassShape& pass) {
  const int64_t head =
      training.scores ? pass.rows * facts.config.hidden_size * element_bytes(dtype)
                      : head_scratch_bytes(facts, dtype, pass.rows, pass.rows, /*gradients=*/true);
  const int64_t backward = backward_scratch_bytes(facts, dtype, &adapter, pass);
  return {.name = "update",
          .items = {{"activations kept for the backward pass",
                     kept_bytes(facts, dtype, &adapter, pass), fmt::format("{} tokens", pass.rows)},
                    {"loss or backward pass, whichever needs more", std::max(head, backward)}}};
}

// Policy and reference side by side: half of the rows are of each.
PlanPhase compared_phase(const Training& training, const ModelFacts& facts, at::ScalarType dtype,
                         int64_t sequences) {
  const int64_t rows = 2 * pass_rows(std::max<int64_t>(training.config.micro_batch_tokens / 2, 1),
                                     training.row_tokens, sequences);
  return {.name = "held-out data", .items = {forward_item(facts, dtype, rows)}};
}

PlanPhase held_out_phase(const Training& training, const ModelFacts& facts, at::ScalarType dtype,
                         const PassShape& pass) {
  const int64_t head = training.scores ? 0
                                       : head_scratch_bytes(facts, dtype, pass.rows, pass.rows,
                                                            /*gradients=*/false);
  return {.name = "held-out data",
          .items = {{"a forward pass or the head, whichever needs more",
                     std::max(head, forward_scratch_bytes(facts, dtype, pass.rows))}}};
}

Plan plan_training(const Training& training, const ModelFacts& facts, const AdapterFacts& adapter,
                   bool evaluates, const PlanOptions& options) {
  const at::Device device = parse_device(training.devices.policy, "devices.policy");
  const at::ScalarType dtype = scalar_type(training.model.dtype, device);
  const at::ScalarType states = activation_type(dtype, device);
  const int64_t wide = wide_bytes(dtype);
  const int64_t rows_of_step =
      training.config.per_device_train_batch_size * training.config.gradient_accumulation_steps;
  const int64_t sequences = ceil_divide(rows_of_step, options.ranks);
  const PassShape pass = pass_of(
      training, pass_rows(training.config.micro_batch_tokens, training.row_tokens, sequences));
  Plan plan{.ranks = options.ranks,
            .base_parameters = num_parameters(facts),
            .trainable_parameters = adapter.num_parameters(),
            .micro_batch_rows = pass.rows,
            .mapped_bytes = facts.file_bytes};
  plan.all_parameters = plan.base_parameters + plan.trainable_parameters - adapter.counted_in_base;
  const bool sharded = training.run.fsdp == Fsdp::full_shard;
  plan.resident = {{"process", kProcessBytes},
                   sharded ? sharded_item("base", facts, dtype, options.ranks)
                           : weights_item("base", facts, dtype, training.model.quantize)};
  add_trained(plan.resident, "policy", "adapter", adapter.shapes, training.config.optim, wide);
  if (training.reference) plan.resident.push_back(training.reference->resident);
  plan.phases = {sharded ? sharded_loading_phase(facts, dtype, options.ranks, plan.resident)
                         : loading_phase(facts, dtype, training.model.quantize, plan.resident),
                 update_phase(training, facts, states, adapter, pass),
                 step_phase(adapter.shapes, wide, options.ranks)};
  if (training.scores_reference) {
    plan.phases.push_back({.name = "reference", .items = {forward_item(facts, states, pass.rows)}});
  }
  if (evaluates) {
    plan.phases.push_back(training.reference ? compared_phase(training, facts, states, sequences)
                                             : held_out_phase(training, facts, states, pass));
  }
  if (sharded) {
    for (PlanPhase& phase : plan.phases) {
      if (phase.name == "loading" || phase.name == "optimizer step") continue;
      phase.items.push_back(gathered_item({facts}, dtype, /*all=*/false, options.ranks));
    }
  }
  plan.transfers = {
      gradient_transfer(adapter.shapes, wide, training.sums_bytes, /*steps=*/1, options.ranks),
      stop_transfer(options.ranks)};
  if (sharded) {
    const int64_t passes = ceil_divide(sequences * training.row_tokens, pass.rows);
    const ShardedBytes bytes = sharded_bytes(facts, dtype, options.ranks);
    const int64_t heads = training.scores ? 0 : 1;
    plan.transfers.push_back(weights_transfer(
        "blocks of the base", passes * (2 * bytes.num_blocks + 1 + heads),
        passes * (bytes.forward + heads * bytes.head + bytes.backward), options.ranks));
    if (training.scores_reference) {
      const ModelFacts& other = training.reference->model ? *training.reference->model : facts;
      const ShardedBytes beside = sharded_bytes(other, dtype, options.ranks);
      plan.transfers.push_back(
          weights_transfer("blocks of the reference", passes * (beside.num_blocks + 2),
                           passes * (beside.forward + beside.head), options.ranks));
    }
  }
  return plan;
}

// data.max_length, or what the user says that the data has.
int64_t longest_of(const PlanOptions& options, const std::optional<int64_t>& max_length,
                   const ModelFacts& facts) {
  const int64_t context = facts.config.max_positions;
  return std::min(options.longest.value_or(max_length.value_or(context)), context);
}

AdapterFacts with_score_head(LoraConfig lora, const ModelFacts& model, int64_t outputs) {
  lora.task_type = TaskType::SEQ_CLS;  // a score head comes with it
  std::vector<ModuleInfo> modules = model.modules;
  modules.push_back(score_module(model.config.hidden_size, outputs));
  return adapter_facts(lora, modules);
}

// What a task says about a row and its loss.
struct RowFacts {
  int64_t texts = 1;    // of the longest length, in a row
  bool scores = false;  // the head is a score, not the vocabulary
  bool dropout = true;
  int64_t sums_bytes = 0;
  bool scores_reference = false;
};

template <class Setup>
std::optional<ReferencePlan> reference_of(const Setup& setup, const AdapterFacts& adapter,
                                          const PlanOptions& options) {
  if constexpr (requires { setup.reference; }) {
    const at::ScalarType dtype =
        scalar_type(setup.model.dtype, parse_device(setup.devices.policy, "devices.policy"));
    return plan_reference(setup.reference, setup.model, setup.lora, adapter, dtype, setup.run.fsdp,
                          options.ranks);
  }
  return std::nullopt;
}

template <class Setup>
Plan plan_supervised(const Setup& setup, const ModelFacts& model, const AdapterFacts& adapter,
                     const RowFacts& row, const PlanOptions& options) {
  using Traits = TaskTraits<Setup>;
  const Training training{
      .config = setup.*Traits::section,
      .model = setup.model,
      .run = setup.run,
      .devices = setup.devices,
      .row_tokens = row.texts * longest_of(options, setup.data.max_length, model),
      .scores = row.scores,
      .dropout = row.dropout && adapter.dropout > 0,
      .sums_bytes = row.sums_bytes,
      .reference = reference_of(setup, adapter, options),
      .scores_reference = row.scores_reference};
  Plan plan = plan_training(training, model, adapter,
                            setup.data.eval.has_value() || setup.data.eval_split > 0, options);
  plan.task = Traits::name;
  return plan;
}

}  // namespace

Plan plan_of(const SftSetup& setup, const ModelFacts& model, const PlanOptions& options) {
  return plan_supervised(setup, model, adapter_facts(setup.lora, model.modules),
                         {.sums_bytes = sizeof(SftSums)}, options);
}

Plan plan_of(const RewardSetup& setup, const ModelFacts& model, const PlanOptions& options) {
  return plan_supervised(setup, model, with_score_head(setup.lora, model, /*outputs=*/1),
                         {.texts = 2,
                          .scores = true,
                          .dropout = !setup.reward.disable_dropout,
                          .sums_bytes = sizeof(RewardSums)},
                         options);
}

Plan plan_of(const DpoSetup& setup, const ModelFacts& model, const PlanOptions& options) {
  return plan_supervised(setup, model, adapter_facts(setup.lora, model.modules),
                         {.texts = 2,
                          .dropout = !setup.dpo.disable_dropout,
                          .sums_bytes = sizeof(DpoSums),
                          .scores_reference = !setup.dpo.precompute_ref_log_probs},
                         options);
}

// The data is not read: without a list of labels there are two classes.
Plan plan_of(const ClassificationSetup& setup, const ModelFacts& model,
             const PlanOptions& options) {
  const auto classes = std::max<int64_t>(std::ssize(setup.data.labels), 2);
  return plan_supervised(setup, model, with_score_head(setup.lora, model, classes),
                         {.scores = true, .sums_bytes = sizeof(ClassificationSums)}, options);
}

}  // namespace leash
