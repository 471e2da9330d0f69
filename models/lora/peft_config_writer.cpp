// Writing adapter_config.json as PEFT 0.21 does.
#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "models/io/hub_cache.h"
#include "models/lora/peft_adapter.h"

namespace leash {
namespace {

using nlohmann::ordered_json;
// Sorted by key, as PEFT writes it.
using Root = std::map<std::string, ordered_json>;

// The version whose file format this is.
constexpr const char* kPeftVersion = "0.21.2";

// Whole numbers are written without a point.
ordered_json whole_if_possible(double value) {
  if (std::abs(value) < 1e15 && value == std::floor(value)) return static_cast<int64_t>(value);
  return value;
}

template <class T>
ordered_json null_if_empty(const std::vector<T>& list) {
  return list.empty() ? ordered_json() : ordered_json(list);
}

ordered_json to_json(const StringOrList& setting) {
  if (const auto* text = std::get_if<std::string>(&setting)) {
    return text->empty() ? ordered_json() : ordered_json(*text);
  }
  return null_if_empty(std::get<std::vector<std::string>>(setting));
}

// PEFT stores what all-linear stood for, not the word: names where they say the same as paths. An
// adapter without updates has a word of PEFT's own there, for it refuses an empty list.
ordered_json target_modules(const Adapter& adapter) {
  const auto* list = std::get_if<std::vector<std::string>>(&adapter.config().target_modules);
  if (list != nullptr && list->empty()) return kNoTargets;
  const auto* text = std::get_if<std::string>(&adapter.config().target_modules);
  if (text == nullptr || !is_all_linear(*text)) return to_json(adapter.config().target_modules);
  std::set<std::string> paths;
  std::set<std::string> names;
  std::set<std::string> other_names;
  for (size_t i = 0; i < adapter.modules().size(); ++i) {
    const std::string& path = adapter.modules()[i].path;
    const std::string name = path.substr(path.rfind('.') + 1);  // npos + 1 is 0
    if (adapter.lora(static_cast<int64_t>(i)) == nullptr) {
      other_names.insert(name);
    } else {
      names.insert(name);
      paths.insert(path);
    }
  }
  const bool ambiguous =
      std::ranges::any_of(names, [&](const auto& name) { return other_names.contains(name); });
  return ambiguous ? ordered_json(paths) : ordered_json(names);
}

// In their own order: it decides where several keys fit a module. (PEFT sorts these as well when it
// saves, and then reads them in another order than it trained with.)
template <class Patterns>
ordered_json in_order(const Patterns& patterns) {
  ordered_json entries = ordered_json::object();
  for (const auto& [key, value] : patterns) {
    entries[key] = whole_if_possible(static_cast<double>(value));
  }
  return entries;
}

// What this project has no setting for, at PEFT's defaults.
Root defaults() {
  Root root = {{"inference_mode", true},           {"loftq_config", ordered_json::object()},
               {"megatron_core", "megatron.core"}, {"peft_type", "LORA"},
               {"peft_version", kPeftVersion},     {"qalora_group_size", 16}};
  for (const char* key : {"ensure_weight_tying", "lora_bias", "use_dora", "use_qalora"}) {
    root[key] = false;
  }
  for (const char* key :
       {"alora_invocation_tokens", "arrow_config", "auto_mapping", "corda_config", "eva_config",
        "kasa_config", "layer_replication", "layers_pattern", "lora_ga_config", "megatron_config",
        "monteclora_config", "revision", "target_parameters", "trainable_token_indices",
        "use_bdlora", "velora_config"}) {
    root[key] = nullptr;
  }
  return root;
}

// Whether an update belongs to a weight that the base keeps as [in, out].
bool has_transposed_update(const Adapter& adapter) {
  for (size_t i = 0; i < adapter.modules().size(); ++i) {
    if (adapter.modules()[i].transposed && adapter.lora(static_cast<int64_t>(i)) != nullptr)
      return true;
  }
  return false;
}

}  // namespace

std::string adapter_config_text(const Adapter& adapter, const std::string& base_model) {
  const LoraConfig& config = adapter.config();
  Root root = defaults();
  root["alpha_pattern"] = in_order(config.alpha_pattern);
  // A snapshot's place in Hugging Face's cache is known elsewhere by the repository's name alone.
  const std::string base = hub_repository(base_model).value_or(base_model);
  root["base_model_name_or_path"] = base.empty() ? ordered_json() : ordered_json(base);
  root["bias"] = enum_name(config.bias);
  root["fan_in_fan_out"] = has_transposed_update(adapter);
  root["exclude_modules"] = to_json(config.exclude_modules);
  root["init_lora_weights"] =
      config.init_lora_weights == LoraInit::kaiming ? ordered_json(true) : ordered_json("gaussian");
  root["layers_to_transform"] = null_if_empty(config.layers_to_transform);
  root["lora_alpha"] = whole_if_possible(config.lora_alpha);
  root["lora_dropout"] = config.lora_dropout;
  root["modules_to_save"] = null_if_empty(effective_modules_to_save(config));
  root["r"] = config.r;
  root["rank_pattern"] = in_order(config.rank_pattern);
  root["target_modules"] = target_modules(adapter);
  root["task_type"] = enum_name(config.task_type);
  root["use_rslora"] = config.use_rslora;
  ordered_json object = ordered_json::object();
  for (auto& [key, value] : root) object[key] = std::move(value);
  return object.dump(2, ' ', /*ensure_ascii=*/true, ordered_json::error_handler_t::replace);
}

}  // namespace leash
