// What the plans of all tasks are put together from.
#pragma once

#include <string>
#include <vector>

#include "rl/optim/optimizer.h"
#include "rl/plan/activations.h"
#include "rl/plan/plan.h"

namespace leash {

// "policy: adapter", "…: gradients" and "…: AdamW" of tensors of these shapes.
void add_trained(std::vector<PlanItem>& items, const std::string& role, const std::string& what,
                 const std::vector<std::vector<int64_t>>& shapes, OptimizerKind optimizer,
                 int64_t element);

// The weights of a model in its memory.
PlanItem weights_item(const std::string& role, const ModelFacts& model, at::ScalarType dtype,
                      Quantize quantize);
// A rank's part of them (run.fsdp: full_shard).
PlanItem sharded_item(const std::string& role, const ModelFacts& model, at::ScalarType dtype,
                      int64_t ranks);
// Whole units beside the parts: `all` of them, or those in use.
PlanItem gathered_item(const std::vector<ModelFacts>& models, at::ScalarType dtype, bool all,
                       int64_t ranks);
// `gathers` units of together `bytes`, of which a rank sends its part to the others.
PlanTransfer weights_transfer(const std::string& name, int64_t gathers, int64_t bytes,
                              int64_t ranks);

// Weights are read one after the other; the rest is not there yet.
PlanPhase loading_phase(const ModelFacts& model, at::ScalarType dtype, Quantize quantize,
                        const std::vector<PlanItem>& resident);

PlanPhase sharded_loading_phase(const ModelFacts& model, at::ScalarType dtype, int64_t ranks,
                                const std::vector<PlanItem>& resident);

// Exchanging the gradients, and the optimizer's update.
PlanPhase step_phase(const std::vector<std::vector<int64_t>>& shapes, int64_t element,
                     int64_t ranks);

// One all-reduce of all gradients, of a count of each, and of every rank's sums (`sums_bytes`): as
// a ring, 2 (N - 1) / N of the message each. `steps`: optimizer steps in one step of the run.
PlanTransfer gradient_transfer(const std::vector<std::vector<int64_t>>& shapes, int64_t element,
                               int64_t sums_bytes, int64_t steps, int64_t ranks);
// An all-gather of `own_bytes` from each rank (and of their number before): N - 1 times each.
PlanTransfer gather_transfer(const std::string& name, int64_t own_bytes, int64_t ranks);
// Whether a rank was told to stop: a number, summed.
PlanTransfer stop_transfer(int64_t ranks);

// The largest pass: whole sequences of `longest` tokens up to `limit` tokens, of `sequences`.
int64_t pass_rows(int64_t limit, int64_t longest, int64_t sequences);

}  // namespace leash
