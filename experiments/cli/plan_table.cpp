#include "experiments/cli/plan_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>
#include <variant>

#include "models/errors.h"
#include "models/fields.h"
#include "rl/plan/planned_gguf.h"
#include "rl/plan/published_models.h"

namespace leash::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kMostTableGib = 1 << 20;
constexpr Quantize kTableForms[] = {Quantize::none, Quantize::nf4, Quantize::keep};

struct TableRecipe {
  std::string_view task;
  std::string_view workload;
  std::string_view settings;  // besides kShared
};

constexpr std::string_view kSharedSettings =
    "model: {dtype: bfloat16}\n"
    "lora: {r: 16, lora_alpha: 32, target_modules: all-linear}\n";

// A task of another room is one row more.
constexpr TableRecipe kTableRecipes[] = {
    {"sft", "samples of 1024 tokens, two in a pass",
     "data: {train: data.jsonl, max_length: 1024}\n"
     "sft: {per_device_train_batch_size: 2, gradient_accumulation_steps: 8, "
     "micro_batch_tokens: 2048}\n"},
    {"ppo", "32 answers of 512 tokens at a time to prompts of 512, two in a pass, shared critic",
     "reward: [{kind: function, name: length, parameters: {target: 100}}]\n"
     "data: {train: data.jsonl, max_prompt_length: 512}\n"
     "rollout: {response_length: 512, max_batch: 32}\n"
     "ppo: {total_episodes: 640, batch_size: 32, micro_batch_tokens: 2048}\n"},
    {"grpo", "32 answers of 512 tokens at a time to prompts of 512, two in a pass",
     "reward: [{kind: function, name: length, parameters: {target: 100}}]\n"
     "data: {train: data.jsonl, max_prompt_length: 512}\n"
     "rollout: {response_length: 512, max_batch: 32}\n"
     "grpo: {total_episodes: 640, batch_size: 32, num_generations: 8, "
     "micro_batch_tokens: 2048}\n"},
};

std::vector<std::string> overrides_for(std::string_view task,
                                       const std::vector<std::string>& overrides) {
  std::vector<std::string> own;
  for (const std::string& setting : overrides) {
    const std::string section = setting.substr(0, setting.find('.'));
    const bool others = std::ranges::any_of(kTableRecipes, [&](const TableRecipe& recipe) {
      return recipe.task == section && recipe.task != task;
    });
    if (!others) own.push_back(setting);
  }
  return own;
}

template <class Setup>
std::optional<int64_t> peak_of(Setup setup, const ModelFacts& model, const TableCell& cell,
                               const PlanOptions& options) {
  setup.model.quantize = cell.quantize;
  setup.model.gradient_checkpointing = cell.recompute;
  std::optional<ModelFacts> held = model;
  if (cell.quantize == Quantize::keep) held = with_q4_k_m(model);
  if (!held) return std::nullopt;
  try {
    return plan_of(setup, *held, options).peak_bytes();
  } catch (const ConfigError&) {
    return std::nullopt;
  }
}

TaskTable task_table(const Experiment& experiment, std::string workload,
                     const PlanOptions& options) {
  TaskTable table{.task = std::string(task_name(experiment.setup)),
                  .workload = std::move(workload)};
  for (const PublishedModel& published : published_models()) {
    const ModelFacts model = facts_of(published);
    TableRow row{
        .model = model.name, .family = model.config.family, .parameters = num_parameters(model)};
    for (const Quantize quantize : kTableForms) {
      for (const bool recompute : {false, true}) {
        TableCell cell{.quantize = quantize, .recompute = recompute};
        cell.peak_bytes =
            std::visit([&](const auto& setup) { return peak_of(setup, model, cell, options); },
                       experiment.setup);
        row.cells.push_back(cell);
      }
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

constexpr double kGib = 1 << 30;

std::vector<double> fitting(const TableCell& cell, const std::vector<double>& gib) {
  std::vector<double> sizes;
  for (const double size : gib) {
    if (cell.peak_bytes && static_cast<double>(*cell.peak_bytes) <= size * kGib) {
      sizes.push_back(size);
    }
  }
  return sizes;
}

// The least memory that is enough and, in brackets, what is needed of it.
std::string cell_text(const TableCell& cell, const std::vector<double>& gib) {
  if (!cell.peak_bytes) return "none";
  const double peak = std::ceil(static_cast<double>(*cell.peak_bytes) / kGib * 10) / 10;
  const auto sizes = fitting(cell, gib);
  return fmt::format("{} ({:.1f})", sizes.empty() ? "-" : fmt::format("{}", sizes.front()), peak);
}

std::string form_name(Quantize quantize) {
  return quantize == Quantize::keep ? "GGUF" : std::string(enum_name(quantize));
}

std::string header_of(const TaskTable& table) {
  std::string line = fmt::format("{:<18}{:>9}", "", "billions");
  for (const TableCell& cell : table.rows.front().cells) {
    line += fmt::format("{:>14}", form_name(cell.quantize) + (cell.recompute ? ", rec." : ""));
  }
  return line + "\n";
}

}  // namespace

std::vector<double> parse_gib(const std::string& text) {
  std::vector<double> sizes;
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    size_t read = 0;
    double size = 0;
    try {
      size = std::stod(part, &read);
    } catch (const std::exception&) {
      read = 0;
    }
    if (read == 0 || read != part.size() || !(size > 0) || size > kMostTableGib) {
      throw ConfigError(fmt::format(
          "--table takes sizes in GiB, as 8,12,16,24: '{}' is none (above 0, at most {})", part,
          kMostTableGib));
    }
    sizes.push_back(size);
    begin = end + 1;
  }
  std::ranges::sort(sizes);
  sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
  return sizes;
}

PlanTable plan_table(std::vector<double> gib, const std::vector<std::string>& overrides,
                     const PlanOptions& options) {
  PlanTable table{.gib = std::move(gib)};
  for (const TableRecipe& recipe : kTableRecipes) {
    const std::string text =
        fmt::format("task: {}\n{}{}", recipe.task, kSharedSettings, recipe.settings);
    const LoadedExperiment loaded =
        parse_experiment(text, fmt::format("--table's recipe for {}", recipe.task), ".",
                         overrides_for(recipe.task, overrides));
    table.tasks.push_back(task_table(loaded.experiment, std::string(recipe.workload), options));
  }
  return table;
}

PlanTable plan_table(std::vector<double> gib, const Experiment& experiment,
                     const PlanOptions& options) {
  return {.gib = std::move(gib), .tasks = {task_table(experiment, "as the recipe says", options)}};
}

std::string table_text(const PlanTable& table) {
  std::string text = fmt::format(
      "the least of {} GiB that is enough and, in brackets, the peak (-: none of them is enough;\n"
      "rec.: with model.gradient_checkpointing; GGUF: Q4_K_M, blocks kept; none: cannot be had)\n",
      fmt::join(table.gib, ", "));
  for (const TaskTable& task : table.tasks) {
    text += fmt::format("\n{}: {}\n{}", task.task, task.workload, header_of(task));
    for (const TableRow& row : task.rows) {
      text += fmt::format("{:<18}{:>9.2f}", row.model, static_cast<double>(row.parameters) / 1e9);
      for (const TableCell& cell : row.cells) {
        text += fmt::format("{:>14}", cell_text(cell, table.gib));
      }
      text += "\n";
    }
  }
  return text;
}

Json table_json(const PlanTable& table) {
  Json json = {{"gib", table.gib}, {"tasks", Json::array()}};
  for (const TaskTable& task : table.tasks) {
    Json models = Json::array();
    for (const TableRow& row : task.rows) {
      Json cells = Json::array();
      for (const TableCell& cell : row.cells) {
        cells.push_back({{"quantize", enum_name(cell.quantize)},
                         {"gradient_checkpointing", cell.recompute},
                         {"peak_bytes", cell.peak_bytes ? Json(*cell.peak_bytes) : Json(nullptr)},
                         {"fits", fitting(cell, table.gib)}});
      }
      models.push_back({{"model", row.model},
                        {"family", row.family},
                        {"parameters", row.parameters},
                        {"peaks", cells}});
    }
    json["tasks"].push_back({{"task", task.task}, {"workload", task.workload}, {"models", models}});
  }
  return json;
}

}  // namespace leash::cli
