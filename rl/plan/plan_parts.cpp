#include "rl/plan/plan_parts.h"

#include <fmt/format.h>

#include <algorithm>

#include "models/fields.h"

namespace leash {
namespace {

int64_t total(const std::vector<std::vector<int64_t>>& shapes) {
  int64_t sum = 0;
  for (const auto& shape : shapes) sum += numel(shape);
  return sum;
}

int64_t sum_of(const std::vector<PlanItem>& items) {
  int64_t sum = 0;
  for (const PlanItem& item : items) sum += item.bytes;
  return sum;
}

std::string name_of(at::ScalarType dtype) {
  if (dtype == at::kHalf) return "float16";
  return dtype == at::kDouble ? "float64" : dtype == at::kFloat ? "float32" : "bfloat16";
}

// What a rank sends of a ring's all-reduce.
double ring_bytes(int64_t message, int64_t ranks) {
  return 2.0 * static_cast<double>(ranks - 1) / static_cast<double>(ranks) *
         static_cast<double>(message);
}

}  // namespace

int64_t PlanPhase::bytes() const { return sum_of(items); }
int64_t Plan::resident_bytes() const { return sum_of(resident); }

const PlanPhase& Plan::largest() const {
  return *std::ranges::max_element(phases, {}, [](const auto& phase) { return phase.bytes(); });
}

int64_t Plan::peak_bytes() const { return resident_bytes() + largest().bytes(); }

double Plan::sent_bytes() const {
  double sum = 0;
  for (const PlanTransfer& transfer : transfers) sum += transfer.sent_bytes;
  return sum;
}

void add_trained(std::vector<PlanItem>& items, const std::string& role, const std::string& what,
                 const std::vector<std::vector<int64_t>>& shapes, OptimizerKind optimizer,
                 int64_t element) {
  const int64_t bytes = total(shapes) * element;
  items.push_back({role + ": " + what, bytes, fmt::format("{} tensors", shapes.size())});
  items.push_back({role + ": gradients", bytes});
  items.push_back({role + ": optimizer", optimizer_bytes(optimizer, shapes, element),
                   std::string(enum_name(optimizer))});
}

PlanItem weights_item(const std::string& role, const ModelFacts& model, at::ScalarType dtype,
                      Quantize quantize) {
  std::string how = name_of(dtype);
  if (quantize != Quantize::none) how = fmt::format("{}, {}", enum_name(quantize), how);
  return {role, weight_bytes(model, dtype, quantize), how};
}

PlanItem sharded_item(const std::string& role, const ModelFacts& model, at::ScalarType dtype,
                      int64_t ranks) {
  return {role, sharded_bytes(model, dtype, ranks).held,
          fmt::format("{}, 1/{} of all matrices", name_of(dtype), ranks)};
}

PlanItem gathered_item(const std::vector<ModelFacts>& models, at::ScalarType dtype, bool all,
                       int64_t ranks) {
  int64_t bytes = 0;
  for (const ModelFacts& model : models) {
    const ShardedBytes sharded = sharded_bytes(model, dtype, ranks);
    bytes = all ? bytes + sharded.all : std::max(bytes, sharded.in_use);
  }
  return {all ? "gathered: all of it" : "gathered: a block in use, and the next", bytes};
}

PlanTransfer weights_transfer(const std::string& name, int64_t gathers, int64_t bytes,
                              int64_t ranks) {
  return {.name = name,
          .calls = gathers,
          .message_bytes = gathers > 0 ? bytes / gathers / ranks : 0,
          .sent_bytes = static_cast<double>(bytes) / static_cast<double>(ranks) *
                        static_cast<double>(ranks - 1),
          .note = "all-gather, this rank's parts"};
}

PlanPhase loading_phase(const ModelFacts& model, at::ScalarType dtype, Quantize quantize,
                        const std::vector<PlanItem>& resident) {
  const int64_t there = sum_of(resident) - kProcessBytes;
  return {.name = "loading",
          .items = {{"parts of the weight that is read, beyond what is not there yet",
                     std::max<int64_t>(loading_bytes(model, dtype, quantize) - there, 0)}}};
}

PlanPhase sharded_loading_phase(const ModelFacts& model, at::ScalarType dtype, int64_t ranks,
                                const std::vector<PlanItem>& resident) {
  const int64_t there = sum_of(resident) - kProcessBytes;
  return {.name = "loading",
          .items = {{"the whole block that is read, beyond what is not there yet",
                     std::max<int64_t>(sharded_bytes(model, dtype, ranks).loading - there, 0)}}};
}

PlanPhase step_phase(const std::vector<std::vector<int64_t>>& shapes, int64_t element,
                     int64_t ranks) {
  PlanPhase phase{.name = "optimizer step"};
  int64_t largest = 0;
  for (const auto& shape : shapes) largest = std::max(largest, numel(shape));
  phase.items.push_back({"the largest tensor's update", 2 * largest * element});
  if (ranks > 1) {
    phase.items.push_back(
        {"buckets of the all-reduce", total(shapes) * element, "copies of all gradients"});
  }
  return phase;
}

PlanTransfer gradient_transfer(const std::vector<std::vector<int64_t>>& shapes, int64_t element,
                               int64_t sums_bytes, int64_t steps, int64_t ranks) {
  const int64_t counts = 8 * static_cast<int64_t>(shapes.size());
  const int64_t message = total(shapes) * element + counts + ranks * sums_bytes;
  return {.name = "gradients and sums",
          .calls = steps,
          .message_bytes = message,
          .sent_bytes = ring_bytes(message, ranks) * static_cast<double>(steps),
          .note = "all-reduce, each optimizer step"};
}

PlanTransfer gather_transfer(const std::string& name, int64_t own_bytes, int64_t ranks) {
  return {.name = name,
          .calls = 1,
          .message_bytes = own_bytes,
          .sent_bytes = static_cast<double>(ranks - 1) * static_cast<double>(own_bytes + 8),
          .note = "all-gather"};
}

PlanTransfer stop_transfer(int64_t ranks) {
  return {.name = "whether to stop",
          .calls = 1,
          .message_bytes = 8,
          .sent_bytes = ring_bytes(8, ranks),
          .note = "all-reduce"};
}

int64_t pass_rows(int64_t limit, int64_t longest, int64_t sequences) {
  return std::min(std::max(limit, longest), longest * std::max<int64_t>(sequences, 1));
}

}  // namespace leash
