#include "configs/sweep.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "configs/binder.h"
#include "configs/sweep_section.h"
#include "configs/yaml_source.h"
#include "models/errors.h"
#include "models/random/random.h"

namespace leash {
namespace {

constexpr size_t kMostRuns = 1000;
constexpr size_t kLongestName = 100;

struct SettingChoice {
  std::string path;
  ConfigValue value;
};
using Setting = std::vector<SettingChoice>;  // all that one run has for itself, besides its seed

bool is_map(const ConfigValue& value, const std::string& path, Problems& problems) {
  if (value.kind == ConfigValue::Kind::map) return true;
  problems.add(value.place, path,
               fmt::format("has to be a map from settings (ppo.kl_coef), not {}", describe(value)));
  return false;
}

// Every combination, the last key fastest.
std::vector<Setting> combinations(const ConfigValue& grid, Problems& problems) {
  std::vector<Setting> all = {{}};
  if (grid.kind == ConfigValue::Kind::null) return all;
  if (!is_map(grid, "sweep.grid", problems)) return all;
  for (const auto& [path, values] : grid.fields) {
    if (values.kind != ConfigValue::Kind::list || values.items.empty()) {
      problems.add(values.place, "sweep.grid." + path, "has to be a list of values");
      continue;
    }
    std::vector<Setting> longer;
    for (const Setting& setting : all) {
      for (const ConfigValue& value : values.items) {
        longer.push_back(setting);
        longer.back().push_back({path, value});
        if (longer.size() > kMostRuns) {
          problems.add(grid.place, "sweep.grid", fmt::format("is more than {} runs", kMostRuns));
          return {{}};
        }
      }
    }
    all = std::move(longer);
  }
  return all;
}

std::vector<Setting> listed(const ConfigValue& list, Problems& problems) {
  if (list.kind == ConfigValue::Kind::null) return {{}};
  if (list.kind != ConfigValue::Kind::list || list.items.empty()) {
    problems.add(list.place, "sweep.list", "has to be a list of maps, one for each run");
    return {{}};
  }
  std::vector<Setting> all;
  for (const ConfigValue& item : list.items) {
    Setting& setting = all.emplace_back();
    if (!is_map(item, fmt::format("sweep.list[{}]", all.size() - 1), problems)) continue;
    for (const auto& [path, value] : item.fields) setting.push_back({path, value});
  }
  return all;
}

struct DrawBounds {
  double min = 0;
  double max = 0;
  bool log = false;
  bool whole = false;
};

std::optional<DrawBounds> bounds_of(const ConfigValue& spec, const std::string& path,
                                    Problems& problems) {
  DrawBounds bounds{.whole = true};
  bool read = true;
  for (const auto& [key, value] : spec.fields) {
    const auto number = parse_number(value.scalar);
    const auto flag = parse_boolean(value.scalar);
    if (key == "log" && flag) {
      bounds.log = *flag;
    } else if ((key == "min" || key == "max") && number) {
      (key == "min" ? bounds.min : bounds.max) = *number;
      bounds.whole = bounds.whole && parse_integer(value.scalar).has_value();
    } else {
      problems.add(value.place, path + "." + key, "has to be min, max (numbers) or log: true");
      read = false;
    }
  }
  if (read && (spec.find("min") == nullptr || spec.find("max") == nullptr ||
               !(bounds.min < bounds.max) || (bounds.log && bounds.min <= 0))) {
    problems.add(spec.place, path, "needs min below max, both above 0 with log: true");
    return std::nullopt;
  }
  return read ? std::optional(bounds) : std::nullopt;
}

// `uniform` is in [0, 1).
std::string drawn_text(const DrawBounds& bounds, double uniform) {
  const double low = bounds.log ? std::log(bounds.min) : bounds.min;
  // A whole number's range ends behind its last one, so that each has the same share.
  const double end = bounds.whole ? bounds.max + 1 : bounds.max;
  double value = low + uniform * ((bounds.log ? std::log(end) : end) - low);
  if (bounds.log) value = std::exp(value);
  if (bounds.whole) return fmt::format("{:.0f}", std::min(std::floor(value), bounds.max));
  return fmt::format("{:.4g}", std::clamp(value, bounds.min, bounds.max));
}

// Draw `i` of setting `j` depends on the seed and on both numbers alone: a larger budget draws the
// same settings and more.
std::vector<Setting> drawn(const SweepRandom& random, int64_t budget, Problems& problems) {
  std::vector<Setting> all(static_cast<size_t>(budget));
  if (!is_map(random.settings.value, "sweep.random.settings", problems)) return all;
  uint64_t j = 0;
  for (const auto& [path, spec] : random.settings.value.fields) {
    const std::string where = "sweep.random.settings." + path;
    const bool choice = spec.kind == ConfigValue::Kind::list && !spec.items.empty();
    std::optional<DrawBounds> bounds;
    if (!choice && is_map(spec, where, problems)) bounds = bounds_of(spec, where, problems);
    for (uint64_t i = 0; (choice || bounds) && i < all.size(); ++i) {
      const double uniform = draw_uniform({.seed = static_cast<uint64_t>(random.seed),
                                           .purpose = Purpose::shuffle,
                                           .a = i,
                                           .b = j});
      ConfigValue value{.kind = ConfigValue::Kind::scalar, .place = spec.place};
      if (choice) {
        value = spec.items[static_cast<size_t>(uniform * static_cast<double>(spec.items.size()))];
      } else {
        value.scalar = drawn_text(*bounds, uniform);
      }
      all[i].push_back({path, std::move(value)});
    }
    ++j;
  }
  return all;
}

std::vector<Setting> settings_of(const SweepConfig& config, const Place& place,
                                 Problems& problems) {
  const bool is_random = config.random.settings.value.kind != ConfigValue::Kind::null;
  const bool is_listed = config.list.value.kind != ConfigValue::Kind::null ||
                         config.grid.value.kind != ConfigValue::Kind::null;
  if (is_random && is_listed) {
    problems.add(place, "sweep.random", "does not go with grid or list");
  }
  if (is_random) {
    if (!config.budget) problems.add(place, "sweep.budget", "is missing: how often to draw");
    return drawn(config.random, config.budget.value_or(1), problems);
  }
  std::vector<Setting> all;
  for (const Setting& first : listed(config.list.value, problems)) {
    for (const Setting& rest : combinations(config.grid.value, problems)) {
      all.push_back(first);
      all.back().insert(all.back().end(), rest.begin(), rest.end());
    }
  }
  if (config.budget && static_cast<int64_t>(all.size()) > *config.budget) {
    problems.add(place, "sweep.budget",
                 fmt::format("is {}, and {} settings come out", *config.budget, all.size()));
  }
  return all;
}

// A value as one would write it behind `--set`.
std::string value_text(const ConfigValue& value) {
  std::string text;
  switch (value.kind) {
    case ConfigValue::Kind::refused:
    case ConfigValue::Kind::null:
      return "null";
    case ConfigValue::Kind::scalar:
      return value.scalar;
    case ConfigValue::Kind::list:
      for (const ConfigValue& item : value.items) {
        text += (text.empty() ? "" : ", ") + value_text(item);
      }
      return "[" + text + "]";
    case ConfigValue::Kind::map:
      for (const auto& [key, item] : value.fields) {
        text += (text.empty() ? "" : ", ") + key + ": " + value_text(item);
      }
      return "{" + text + "}";
  }
  return text;
}

// Of a folder: no separators, nothing that a shell would take for something else.
std::string plain_name(const std::string& text) {
  std::string name;
  for (const char c : text) {
    const bool fine = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '-' ||
                      c == '+' || c == '_' || c == '=';
    name += fine ? c : '-';
  }
  return name;
}

// The last part of a path says enough, where no two settings share it.
std::string name_of(const SweepRun& run, bool with_seed) {
  std::multiset<std::string> ends;
  const auto end_of = [](const std::string& path) { return path.substr(path.rfind('.') + 1); };
  for (const auto& [path, value] : run.settings) ends.insert(end_of(path));
  std::string name;
  for (const auto& [path, value] : run.settings) {
    const std::string key = ends.count(end_of(path)) > 1 ? path : end_of(path);
    name += (name.empty() ? "" : "_") + plain_name(key + "=" + value);
  }
  if (with_seed || name.empty())
    name += fmt::format("{}seed={}", name.empty() ? "" : "_", run.seed);
  return name;
}

void name_runs(std::vector<SweepRun>& runs, bool with_seeds) {
  std::set<std::string> names;
  for (SweepRun& run : runs) {
    run.name = name_of(run, with_seeds);
    names.insert(run.name);
  }
  const bool fine = names.size() == runs.size() && std::ranges::all_of(names, [](const auto& name) {
                      return name.size() <= kLongestName && !name.starts_with('.');
                    });
  for (size_t i = 0; !fine && i < runs.size(); ++i) runs[i].name = fmt::format("run-{:03}", i + 1);
}

SweepConfig read_sweep(ConfigValue& root, const SweepOptions& options, Problems& problems) {
  SweepConfig config = take_sweep(root, problems);
  for (const std::string& option : options.grid) {
    const Place place{.source = "--grid " + option, .line = -1, .folder = "."};
    const size_t equals = option.find('=');
    if (equals == 0 || equals == std::string::npos) {
      problems.add(place, "", "has to be section.field=value,value");
      continue;
    }
    ConfigValue values{.kind = ConfigValue::Kind::list, .place = place};
    for (const std::string& text : split_values(option.substr(equals + 1))) {
      values.items.push_back(parse_yaml(text, place, problems));
    }
    ConfigValue& grid = config.grid.value;
    if (grid.kind == ConfigValue::Kind::null)
      grid = {.kind = ConfigValue::Kind::map, .place = place};
    const std::string path = option.substr(0, equals);
    if (ConfigValue* there = grid.find(path)) {
      *there = std::move(values);
    } else {
      grid.fields.emplace_back(path, std::move(values));
    }
  }
  config.seeds = options.seeds.value_or(config.seeds);
  config.jobs = options.jobs.value_or(config.jobs);
  const SweepStop& stop = config.stop;
  if (stop.metric.has_value() != stop.worse_than_median_after.has_value()) {
    problems.add(root.place, "sweep.stop", "needs both metric and worse_than_median_after");
  }
  return config;
}

void check_setting(const SettingChoice& choice, const SweepConfig& config, Problems& problems) {
  if (choice.path == "run.output_dir" || choice.path == "task" || choice.path == "sweep") {
    problems.add(choice.value.place, choice.path, "cannot differ between the runs of a sweep");
  }
  if (choice.path == "run.seed" && config.seeds > 1) {
    problems.add(choice.value.place, choice.path, "is what `seeds` counts on from: take one");
  }
}

}  // namespace

std::vector<std::string> split_values(const std::string& text) {
  std::vector<std::string> parts(1);
  int depth = 0;
  char quote = 0;
  for (const char c : text) {
    if (quote != 0) {
      if (c == quote) quote = 0;
    } else if (c == '"' || c == '\'') {
      quote = c;
    } else if (c == '[' || c == '{') {
      ++depth;
    } else if (c == ']' || c == '}') {
      --depth;
    } else if (c == ',' && depth == 0) {
      parts.emplace_back();
      continue;
    }
    parts.back() += c;
  }
  return parts;
}

Sweep load_sweep(const std::filesystem::path& recipe, const std::vector<std::string>& overrides,
                 const SweepOptions& options) {
  Problems problems;
  ConfigValue root = read_yaml_file(recipe, problems);
  for (const std::string& override : overrides) apply_override(root, override, problems);
  problems.check();
  Sweep sweep{.config = read_sweep(root, options, problems)};
  const std::vector<Setting> settings = settings_of(sweep.config, root.place, problems);
  for (const Setting& setting : settings) {
    if (!problems.empty()) break;  // the others say the same
    for (const SettingChoice& choice : setting) check_setting(choice, sweep.config, problems);
  }
  problems.check();
  if (settings.size() * static_cast<size_t>(sweep.config.seeds) > kMostRuns) {
    throw ConfigError(fmt::format("sweep: is more than {} runs", kMostRuns));
  }
  std::set<std::string> known;
  for (const Setting& setting : settings) {
    for (int64_t i = 0; i < sweep.config.seeds; ++i) {
      Problems own;
      ConfigValue tree = root;
      for (const SettingChoice& choice : setting) {
        apply_value(tree, choice.path, choice.value, own);
      }
      LoadedExperiment loaded = bind_experiment(std::move(tree), i, own);
      for (const std::string& warning : loaded.warnings) {
        if (known.insert(warning).second) sweep.warnings.push_back(warning);
      }
      SweepRun& run = sweep.runs.emplace_back();
      for (const SettingChoice& choice : setting) {
        run.settings.emplace_back(choice.path, value_text(choice.value));
      }
      run.seed = loaded.experiment.run().seed;
      run.experiment = std::move(loaded.experiment);
    }
  }
  name_runs(sweep.runs, sweep.config.seeds > 1);
  return sweep;
}

}  // namespace leash
