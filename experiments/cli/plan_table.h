// leash plan --table: which published models train in how much memory.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "configs/experiment.h"
#include "models/families/model_config.h"
#include "rl/plan/plan.h"

namespace leash::cli {

// One way of holding a base.
struct TableCell {
  Quantize quantize = Quantize::none;
  bool recompute = false;
  std::optional<int64_t> peak_bytes = {};  // nullopt: the recipe does not fit the model
};

struct TableRow {
  std::string model;
  std::string family;
  int64_t parameters = 0;
  std::vector<TableCell> cells = {};
};

struct TaskTable {
  std::string task;
  std::string workload;  // what the recipe says, for the user
  std::vector<TableRow> rows = {};
};

struct PlanTable {
  std::vector<double> gib = {};  // ascending
  std::vector<TaskTable> tasks = {};
};

// "8,12,16,24" in ascending order. ConfigError where it is no list of sizes.
std::vector<double> parse_gib(const std::string& text);

// Every published model by each task's own recipe for the table, `overrides` ("lora.r=64") on top;
// those of a task's section count for that task alone.
PlanTable plan_table(std::vector<double> gib, const std::vector<std::string>& overrides,
                     const PlanOptions& options);
// The same for one recipe.
PlanTable plan_table(std::vector<double> gib, const Experiment& experiment,
                     const PlanOptions& options);

std::string table_text(const PlanTable& table);
nlohmann::ordered_json table_json(const PlanTable& table);

}  // namespace leash::cli
