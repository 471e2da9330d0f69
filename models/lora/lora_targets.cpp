// Which modules a LoRA configuration addresses: PEFT's rules, so that a configuration means the
// same there and here.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "models/errors.h"
#include "models/list_hint.h"
#include "models/lora/lora.h"
#include "models/lora/name_set.h"
#include "models/lora/python_pattern.h"

namespace leash {
namespace {

// The number of a module's layer: the first numeric part that has at least two parts before it and
// one behind.
std::optional<int64_t> layer_of(std::string_view path) {
  for (int part = 0; !path.empty(); ++part) {
    const size_t dot = path.find('.');
    if (dot == std::string_view::npos) return std::nullopt;
    const std::string_view text = path.substr(0, dot);
    path.remove_prefix(dot + 1);
    const bool digits =
        !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
    if (part < 2 || !digits) continue;
    int64_t layer = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), layer);
    if (error != std::errc()) return std::nullopt;
    return layer;
  }
  return std::nullopt;
}

// Last parts of all paths, without repeats: what the user may write in target_modules.
std::string existing_names(const std::vector<ModuleInfo>& modules) {
  std::set<std::string_view> names;
  for (const ModuleInfo& module : modules) {
    const std::string_view path = module.path;
    names.insert(path.substr(path.rfind('.') + 1));  // npos + 1 is 0
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

// Whether a pattern addresses a module: by its path, its weight's name, or a block around it.
bool addresses(const PythonPattern& pattern, const std::string& path) {
  if (pattern.matches_whole(path) || pattern.matches_whole(path + ".weight")) return true;
  for (size_t dot = path.find('.'); dot != std::string::npos; dot = path.find('.', dot + 1)) {
    if (pattern.matches_whole(std::string_view(path).substr(0, dot))) return true;
  }
  return false;
}

// All paths, those of equal modules in all layers as one: "model.layers.N.mlp.up_proj".
std::string existing_paths(const std::vector<ModuleInfo>& modules) {
  std::vector<std::string> paths;
  std::set<int64_t> layers;
  for (const ModuleInfo& module : modules) {
    std::string path = module.path;
    if (const auto layer = layer_of(path)) {
      layers.insert(*layer);
      const std::string number = fmt::format(".{}.", *layer);
      path.replace(path.find(number), number.size(), ".N.");
    }
    if (std::ranges::find(paths, path) == paths.end()) paths.push_back(path);
  }
  std::string text = fmt::format("{}", fmt::join(paths, ", "));
  if (!layers.empty()) text += fmt::format(" (N: {} to {})", *layers.begin(), *layers.rbegin());
  return text;
}

// One matching of a configuration against a decoder's modules; collects problems on the way.
class Matcher {
 public:
  Matcher(const LoraConfig& config, const std::vector<ModuleInfo>& modules, Unmatched unmatched)
      : config_(config),
        modules_(modules),
        strict_(unmatched == Unmatched::error),
        all_linear_(std::holds_alternative<std::string>(config.target_modules) &&
                    is_all_linear(std::get<std::string>(config.target_modules))),
        targets_(all_linear_ ? StringOrList("") : config.target_modules, "lora.target_modules"),
        excluded_(config.exclude_modules, "lora.exclude_modules"),
        saved_names_(effective_modules_to_save(config)) {
    for (const std::string& name : saved_names_) {
      // PEFT reads these names as expressions here, and as plain endings where it makes the copies.
      saved_.emplace_back(fmt::format(R"((^|.*\.){}($|\..*))", name), "lora.modules_to_save");
    }
    for (const auto& [key, r] : config.rank_pattern) {
      rank_keys_.emplace_back(pattern_key(key, "lora.rank_pattern"), r);
      if (r < 1) problem("lora.rank_pattern: `{}` has rank {}; ranks are at least 1", key, r);
    }
    for (const auto& [key, alpha] : config.alpha_pattern) {
      alpha_keys_.emplace_back(pattern_key(key, "lora.alpha_pattern"), alpha);
    }
    if (config.r < 1) problem("lora.r: {} is not a rank; ranks are at least 1", config.r);
  }

  LoraMatches run() {
    if (!trains_copies_alone() && !all_linear_ && targets_.empty()) {
      problem("lora.target_modules: empty; there are: {}", existing_names(modules_));
    }
    check_layers();
    check_containers();
    for (size_t i = 0; i < modules_.size(); ++i) visit(static_cast<int64_t>(i));
    if (strict_) check_names();
    const bool nothing =
        matches_.targets.empty() && !(trains_copies_alone() && !matches_.weight_copies.empty());
    if (problems_.empty() && nothing) {
      problem("lora.target_modules: no module is left to adapt; there are: {}",
              existing_names(modules_));
    }
    if (!problems_.empty()) throw ConfigError(fmt::format("{}", fmt::join(problems_, "\n")));
    return std::move(matches_);
  }

 private:
  template <class... Args>
  void problem(fmt::format_string<Args...> text, Args&&... args) {
    problems_.push_back(fmt::format(text, std::forward<Args>(args)...));
  }

  // An empty list of targets: what trains are the modules in modules_to_save.
  bool trains_copies_alone() const {
    const auto* names = std::get_if<std::vector<std::string>>(&config_.target_modules);
    return names != nullptr && names->empty() && !saved_names_.empty();
  }

  static PythonPattern pattern_key(const std::string& key, const char* where) {
    return PythonPattern(fmt::format(R"((.*\.)?({})$)", key), where);
  }

  bool is_excluded(std::string_view path) const {
    return excluded_.hit(path) != NameSet::Hit::none ||
           std::ranges::any_of(saved_, [&](const auto& name) { return name.matches_whole(path); });
  }

  bool is_target(const ModuleInfo& module) const {
    if (is_excluded(module.path)) return false;
    if (all_linear_) {
      return module.kind == ModuleKind::linear && !is_head(module);
    }
    const NameSet::Hit hit = targets_.hit(module.path);
    if (hit != NameSet::Hit::by_name_end || config_.layers_to_transform.empty()) {
      return hit != NameSet::Hit::none;  // PEFT does not filter whole paths by layer
    }
    const auto layer = layer_of(module.path);
    const auto& layers = config_.layers_to_transform;
    return layer && std::ranges::find(layers, *layer) != layers.end();
  }

  void visit(int64_t index) {
    const ModuleInfo& module = modules_[static_cast<size_t>(index)];
    const bool target = is_target(module);
    const bool saved = std::ranges::any_of(
        saved_names_, [&](const auto& name) { return module.path.ends_with(name); });
    if (target && module.kind == ModuleKind::embedding) {
      problem(
          "lora.target_modules: LoRA on the embedding {} is not supported yet; leave it out, or "
          "train it whole with modules_to_save",
          module.path);
    } else if (target && module.kind != ModuleKind::linear) {
      problem("lora.target_modules: {} is not a linear layer", module.path);
    } else if (target && saved) {
      problem("lora: target_modules and modules_to_save both address {}", module.path);
    } else if (target) {
      matches_.targets.push_back(with_rank(index));
    }
    if (saved) matches_.weight_copies.push_back(index);
    const bool trains_bias =
        config_.bias == LoraBias::all || (config_.bias == LoraBias::lora_only && target) || saved;
    if (module.has_bias && trains_bias) matches_.bias_copies.push_back(index);
  }

  // The first key that fits decides.
  LoraTarget with_rank(int64_t index) const {
    const std::string& path = modules_[static_cast<size_t>(index)].path;
    LoraTarget target{.module = index, .r = config_.r, .alpha = config_.lora_alpha};
    const auto fits = [&](const auto& entry) { return entry.first.matches_whole(path); };
    const auto r = std::ranges::find_if(rank_keys_, fits);
    if (r != rank_keys_.end()) target.r = r->second;
    const auto alpha = std::ranges::find_if(alpha_keys_, fits);
    if (alpha != alpha_keys_.end()) target.alpha = alpha->second;
    return target;
  }

  void check_layers() {
    if (config_.layers_to_transform.empty()) return;
    if (std::holds_alternative<std::string>(config_.target_modules)) {
      problem("lora.layers_to_transform: only for a list of target_modules, not for `{}`",
              std::get<std::string>(config_.target_modules));
    }
    std::set<int64_t> layers;
    for (const ModuleInfo& module : modules_) {
      if (const auto layer = layer_of(module.path)) layers.insert(*layer);
    }
    for (const int64_t layer : config_.layers_to_transform) {
      if (!strict_ || layers.contains(layer)) continue;
      problem("lora.layers_to_transform: there is no layer {}; there are {}", layer,
              layers.empty() ? "none" : fmt::format("{} to {}", *layers.begin(), *layers.rbegin()));
    }
  }

  // PEFT refuses a target that is a block of modules ("model.layers.0.mlp"); so do we.
  void check_containers() {
    if (all_linear_) return;
    std::set<std::string_view> containers;
    for (const ModuleInfo& module : modules_) {
      std::string_view path = module.path;
      for (size_t dot = path.rfind('.'); dot != path.npos; dot = path.rfind('.')) {
        path = path.substr(0, dot);
        containers.insert(path);
      }
    }
    for (const std::string_view path : containers) {
      if (!is_target(ModuleInfo{.path = std::string(path)})) continue;
      problem("lora.target_modules: {} is not a linear layer; there are: {}", path,
              existing_names(modules_));
      return;
    }
  }

  // What the user wrote must have an effect.
  void check_names() {
    check_entries(config_.target_modules, "target_modules");
    check_entries(config_.exclude_modules, "exclude_modules");
    for (const std::string& name : config_.modules_to_save) {
      const bool automatic =
          config_.task_type == TaskType::SEQ_CLS && (name == "classifier" || name == "score");
      const bool found = std::ranges::any_of(
          modules_, [&](const auto& module) { return module.path.ends_with(name); });
      if (!found && !automatic) no_such("modules_to_save", name);
    }
    for (const auto& [key, r] : config_.rank_pattern) check_pattern("rank_pattern", key);
    for (const auto& [key, alpha] : config_.alpha_pattern) check_pattern("alpha_pattern", key);
  }

  void check_entries(const StringOrList& setting, const char* name) {
    std::vector<std::string> entries;
    if (const auto* text = std::get_if<std::string>(&setting)) {
      const bool shorthand = all_linear_ && &setting == &config_.target_modules;
      if (text->empty() || shorthand) return;
      const PythonPattern pattern(*text, fmt::format("lora.{}", name));
      if (!any_module([&](const auto& path) { return pattern.matches_whole(path); })) {
        no_such(name, *text, list_hint(*text));
      }
      return;
    }
    for (const std::string& entry : std::get<std::vector<std::string>>(setting)) {
      if (!any_module([&](const auto& path) { return ends_in_name(path, entry); })) {
        no_such(name, entry);
      }
    }
  }

  void check_pattern(const char* name, const std::string& key) {
    const PythonPattern pattern = pattern_key(key, name);
    for (const LoraTarget& target : matches_.targets) {
      if (pattern.matches_whole(modules_[static_cast<size_t>(target.module)].path)) return;
    }
    problem("lora.{}: `{}` matches none of the targets", name, key);
  }

  template <class Predicate>
  bool any_module(Predicate predicate) const {
    return std::ranges::any_of(modules_,
                               [&](const auto& module) { return predicate(module.path); });
  }

  void no_such(const char* name, const std::string& entry, const std::string& hint = "") {
    problem("lora.{}: `{}` matches no module; there are: {}{}", name, entry,
            existing_names(modules_), hint);
  }

  const LoraConfig& config_;
  const std::vector<ModuleInfo>& modules_;
  const bool strict_;
  const bool all_linear_;
  const NameSet targets_;
  const NameSet excluded_;
  const std::vector<std::string> saved_names_;
  std::vector<PythonPattern> saved_;
  std::vector<std::pair<PythonPattern, int64_t>> rank_keys_;
  std::vector<std::pair<PythonPattern, double>> alpha_keys_;
  LoraMatches matches_;
  std::vector<std::string> problems_;
};

}  // namespace

bool is_all_linear(std::string_view text) {
  return std::ranges::equal(text, std::string_view("all-linear"), [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
  });
}

std::vector<std::string> effective_modules_to_save(const LoraConfig& config) {
  std::vector<std::string> names = config.modules_to_save;
  if (config.task_type != TaskType::SEQ_CLS) return names;
  for (const char* name : {"classifier", "score"}) {
    if (std::ranges::find(names, name) == names.end()) names.emplace_back(name);
  }
  return names;
}

LoraConfig with_trainable_paths(const LoraConfig& config, const std::vector<ModuleInfo>& modules) {
  LoraConfig result = config;
  result.trainable.clear();
  std::vector<std::string> problems;
  const bool has_score =
      std::ranges::find(modules, ModuleRole::score, &ModuleInfo::role) != modules.end();
  std::vector<bool> trains(modules.size(), false);
  for (const std::string& text : config.trainable) {
    const PythonPattern pattern(text, "lora.trainable");
    bool found = false;
    for (size_t i = 0; i < modules.size(); ++i) {
      const std::string& path = modules[i].path;
      const bool unread = has_score && modules[i].role == ModuleRole::lm_head;
      if (unread || !addresses(pattern, path)) continue;
      trains[i] = found = true;
    }
    if (!found) {
      problems.push_back(fmt::format("lora.trainable: `{}` matches no module; there are: {}", text,
                                     existing_paths(modules)));
    }
  }
  if (!problems.empty()) throw ConfigError(fmt::format("{}", fmt::join(problems, "\n")));
  const std::vector<std::string> saved = effective_modules_to_save(config);
  for (size_t i = 0; i < modules.size(); ++i) {
    const std::string& path = modules[i].path;
    const bool already =
        std::ranges::any_of(saved, [&](const auto& name) { return path.ends_with(name); });
    if (trains[i] && !already) result.modules_to_save.push_back(path);
  }
  return result;
}

LoraMatches match_modules(const LoraConfig& config, const std::vector<ModuleInfo>& modules,
                          Unmatched unmatched) {
  return Matcher(config, modules, unmatched).run();
}

std::vector<LoraTarget> match_targets(const LoraConfig& config,
                                      const std::vector<ModuleInfo>& modules) {
  return match_modules(config, modules).targets;
}

double lora_scaling(const LoraConfig& config, const LoraTarget& target) {
  const double r = static_cast<double>(target.r);
  return target.alpha / (config.use_rslora ? std::sqrt(r) : r);
}

}  // namespace leash
