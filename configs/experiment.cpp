#include "configs/experiment.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "configs/binder.h"
#include "configs/checker.h"
#include "configs/checks.h"
#include "configs/resolved.h"
#include "configs/scalars.h"
#include "configs/sections.h"
#include "configs/sweep_section.h"
#include "configs/yaml_source.h"
#include "models/errors.h"

namespace leash {
namespace {

// "task: ppo, task: sft, …"
std::string known_tasks() {
  std::string names;
  for_each_task([&]<class Setup> {
    names += fmt::format("{}task: {}", names.empty() ? "" : ", ", TaskTraits<Setup>::name);
  });
  return names;
}

// Takes `task` out of the tree: it decides what else may stand there.
std::string take_task(ConfigValue& root, Problems& problems) {
  Written written;
  std::string task;
  if (root.find("task") == nullptr) {
    problems.add(root.place, "task", fmt::format("is missing ({})", known_tasks()));
  }
  for (auto field = root.fields.begin(); field != root.fields.end(); ++field) {
    if (field->first != "task") continue;
    const Place place = field->second.place;
    const size_t before = problems.lines().size();
    read_value(field->second, task, "task", {}, {problems, written});
    const bool is_read = problems.lines().size() == before;
    root.fields.erase(field);
    std::vector<std::string> names;
    for_each_task([&]<class Setup> { names.emplace_back(TaskTraits<Setup>::name); });
    if (is_read && std::ranges::find(names, task) == names.end()) {
      problems.add(place, "task", choice_problem(fmt::format("`{}`", task), task, names));
    }
    break;
  }
  return task;
}

// Passes as small as a CPU's leave a GPU idle: launching their kernels takes longer than running
// them.
constexpr int64_t kGpuPassTokens = 4096;

// The default of micro_batch_tokens depends on where the model is.
template <class Setup>
void fit_to_device(Setup& setup, const Written& written) {
  using Traits = TaskTraits<Setup>;
  const std::string key = fmt::format("{}.micro_batch_tokens", Traits::name);
  if (is_cpu(setup.devices.policy) || written.contains(key)) return;
  (setup.*Traits::section).micro_batch_tokens = kGpuPassTokens;
}

// A reward program is looked for where its command stands, as every file that a recipe names.
template <class Setup>
void place_programs(Setup& setup, const Written& written) {
  if constexpr (SamplesAnswers<Setup>) {
    for (size_t i = 0; i < setup.reward.size(); ++i) {
      RewardConfig& reward = setup.reward[i];
      const auto found = written.find(fmt::format("reward[{}].command", i));
      if (reward.kind != RewardKind::command || reward.folder || found == written.end()) continue;
      const std::filesystem::path folder = found->second.folder;
      reward.folder = std::filesystem::absolute(folder.empty() ? "." : folder).lexically_normal();
    }
  }
}

template <class Setup>
LoadedExperiment read_setup(const ConfigValue& root, Problems& problems) {
  Setup setup;
  Written written;
  read_config(root, setup, problems, written);
  fit_to_device(setup, written);
  place_programs(setup, written);
  // Rules across settings make sense only for values that could be read.
  if (problems.settings_are_read()) check(setup, written, problems);
  problems.check();
  return {.experiment = {.setup = setup}, .warnings = warnings(setup, written)};
}

LoadedExperiment read_task(std::string_view task, const ConfigValue& root, Problems& problems) {
  LoadedExperiment loaded;
  for_each_task([&]<class Setup> {
    if (TaskTraits<Setup>::name == task) loaded = read_setup<Setup>(root, problems);
  });
  return loaded;
}

// The recipe's seed, moved on; without a `run:` section, its default.
void move_seed(LoadedExperiment& loaded, int64_t offset) {
  std::visit(
      [&](auto& setup) {
        if (setup.run.seed > std::numeric_limits<int64_t>::max() - offset) {
          throw ConfigError("run.seed: leaves no room for the seeds of a sweep");
        }
        setup.run.seed += offset;
      },
      loaded.experiment.setup);
}

LoadedExperiment bind(ConfigValue root, const std::vector<std::string>& overrides,
                      Problems& problems) {
  for (const std::string& override : overrides) apply_override(root, override, problems);
  const bool sweeps = root.find("sweep") != nullptr;
  (void)take_sweep(root, problems);  // what is wrong in it is said by every command
  LoadedExperiment loaded = bind_experiment(std::move(root), /*seed_offset=*/0, problems);
  if (sweeps) loaded.warnings.push_back("sweep: is read by `leash sweep` alone");
  return loaded;
}

// Every leaf of a tree as "path" -> text.
void flatten(const ConfigValue& value, const std::string& path,
             std::map<std::string, std::string>& into) {
  switch (value.kind) {
    case ConfigValue::Kind::refused:
    case ConfigValue::Kind::null:
      into[path] = "null";
      break;
    case ConfigValue::Kind::scalar:
      into[path] = value.scalar;
      break;
    case ConfigValue::Kind::list:
      into[path] = fmt::format("{} entries", value.items.size());
      for (size_t i = 0; i < value.items.size(); ++i) {
        flatten(value.items[i], fmt::format("{}[{}]", path, i), into);
      }
      break;
    case ConfigValue::Kind::map:
      for (const auto& [key, entry] : value.fields) {
        flatten(entry, path.empty() ? key : path + "." + key, into);
      }
  }
}

std::map<std::string, std::string> flattened(const std::string& yaml) {
  Problems problems;
  std::map<std::string, std::string> leaves;
  flatten(parse_yaml(yaml, {.source = "resolved.yaml"}, problems), "", leaves);
  return leaves;
}

}  // namespace

SweepConfig take_sweep(ConfigValue& root, Problems& problems) {
  SweepConfig config;
  const auto found = std::ranges::find(root.fields, "sweep", [](const auto& f) { return f.first; });
  if (found == root.fields.end()) return config;
  Written written;
  read_value(found->second, config, "sweep", {}, {problems, written});
  root.fields.erase(found);
  return config;
}

LoadedExperiment bind_experiment(ConfigValue root, int64_t seed_offset, Problems& problems) {
  if (root.kind != ConfigValue::Kind::map) {
    if (root.kind == ConfigValue::Kind::refused) problems.check();  // of the syntax
    problems.add(root.place, "", "has to be a map of sections (task: …, model: …)");
    problems.check();
  }
  const size_t before = problems.lines().size();
  const std::string task = take_task(root, problems);
  if (problems.lines().size() > before) problems.check();  // nobody knows what else may stand there
  LoadedExperiment loaded = read_task(task, root, problems);
  move_seed(loaded, seed_offset);
  return loaded;
}

const RunConfig& Experiment::run() const {
  return std::visit([](const auto& held) -> const RunConfig& { return held.run; }, setup);
}

LoadedExperiment load_experiment(const std::filesystem::path& recipe,
                                 const std::vector<std::string>& overrides) {
  Problems problems;
  ConfigValue root = read_yaml_file(recipe, problems);
  return bind(std::move(root), overrides, problems);
}

LoadedExperiment parse_experiment(const std::string& text, const std::string& origin,
                                  const std::filesystem::path& folder,
                                  const std::vector<std::string>& overrides) {
  Problems problems;
  ConfigValue root = parse_yaml(text, {.source = origin, .folder = folder}, problems);
  return bind(std::move(root), overrides, problems);
}

std::string resolved_yaml(const Experiment& experiment) {
  return fmt::format(
      "task: {}\n{}", task_name(experiment.setup),
      std::visit([](const auto& held) { return resolved_setup(held); }, experiment.setup));
}

void check_meanings(const std::string& resolved, const std::string& origin) {
  const auto settings = flattened(resolved);
  const auto target = settings.find("ppo.target_kl");
  // Until 30 November 2026 target_kl was the target of the adaptive coefficient.
  if (target == settings.end() || target->second == "null") return;
  if (!settings.contains("ppo.kl_horizon") || settings.contains("ppo.kl_target")) return;
  throw ConfigError(
      fmt::format("{}: this run began when ppo.target_kl was what kl_coef adapts to, which is "
                  "ppo.kl_target now; "
                  "write `kl_target: {}` there and in the recipe instead of target_kl to go on",
                  origin, target->second));
}

std::vector<std::string> changed_settings(const std::string& resolved_before,
                                          const std::string& resolved_after) {
  const auto before = flattened(resolved_before);
  const auto after = flattened(resolved_after);
  const auto value = [](const auto& leaves, const std::string& path) {
    const auto found = leaves.find(path);
    return found == leaves.end() ? std::string("(none)") : found->second;
  };
  std::map<std::string, std::string> all = before;
  all.insert(after.begin(), after.end());
  std::vector<std::string> lines;
  for (const auto& [path, ignored] : all) {
    if (value(before, path) == value(after, path)) continue;
    lines.push_back(fmt::format("{}: {} -> {}", path, value(before, path), value(after, path)));
  }
  return lines;
}

}  // namespace leash
