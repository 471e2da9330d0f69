#include "rl/policy/critic_files.h"

#include <fmt/format.h>

#include <map>

#include "models/decoder/score_head.h"
#include "models/errors.h"
#include "models/io/safetensors.h"
#include "models/lora/base_identity.h"
#include "models/lora/peft_adapter.h"
#include "rl/run/snapshot_parts.h"

namespace leash {
namespace {

constexpr const char* kCriticFile = "critic.safetensors";
constexpr const char* kKindKey = "leash_critic";

bool has_lora(const Critic& critic) {
  if (!critic.adapter) return false;
  for (int64_t module = 0; module < std::ssize(critic.adapter->modules()); ++module) {
    if (critic.adapter->lora(module) != nullptr) return true;
  }
  return false;
}

// What it trains besides the head, for messages: "shared", "separate, train: all", ….
std::string critic_kind(const Critic& critic) {
  std::string kind(enum_name(critic.kind));
  if (critic.kind != CriticKind::separate) return kind;
  return kind + (critic.adapter ? ", train: all" : ", train: head");
}

// The tensors of all modules that both have, in an adapter of this configuration.
Adapter with_modules(const Adapter& adapter, LoraConfig config,
                     const std::vector<ModuleInfo>& modules) {
  config.path.reset();
  Adapter result(std::move(config), modules);
  const auto common = std::min(adapter.modules().size(), modules.size());
  for (int64_t module = 0; module < static_cast<int64_t>(common); ++module) {
    if (const LoraWeights* lora = adapter.lora(module)) result.set_lora(module, *lora);
    if (const at::Tensor* weight = adapter.weight_copy(module)) {
      result.set_weight_copy(module, *weight);
    }
    if (const at::Tensor* bias = adapter.bias_copy(module)) result.set_bias_copy(module, *bias);
  }
  return result;
}

void start_with_lora(const std::filesystem::path& folder, Critic& critic) {
  if (!has_lora(critic)) {
    throw ConfigError(
        fmt::format("critic.start: {} holds an adapter with a score head, which starts "
                    "critic.kind: adapter, or "
                    "separate with train: lora",
                    folder.string()));
  }
  const Adapter saved = load_score_adapter(folder, *critic.decoder);
  LoraConfig config = saved.config();
  config.task_type = TaskType::CAUSAL_LM;
  std::erase_if(config.modules_to_save,
                [](const std::string& name) { return name == "score" || name == "classifier"; });
  critic.adapter = with_modules(saved, config, critic.decoder->modules()).clone();
  critic.adapter->set_trainable(true);
  critic.head.weight = trainable_leaf(score_head(saved).weight.to(at::kFloat));
}

void start_without_lora(const std::filesystem::path& folder, Critic& critic) {
  const std::filesystem::path file = folder / kCriticFile;
  if (!std::filesystem::exists(file)) {
    throw FormatError(
        fmt::format("critic.start: {} holds no critic: neither {} nor an adapter with a score head",
                    folder.string(), kCriticFile));
  }
  const auto metadata = read_safetensors_metadata(file);
  const auto kind = metadata.find(kKindKey);
  const std::string own = critic_kind(critic);
  if (has_lora(critic) || kind == metadata.end() || kind->second != own) {
    throw ConfigError(fmt::format("critic.start: {} is of critic.kind: {}, not {}", file.string(),
                                  kind == metadata.end() ? "?" : kind->second, own));
  }
  for (const auto& [key, base] : base_metadata(critic.decoder->identity())) {
    const auto found = metadata.find(key);
    if (found == metadata.end() || found->second == base) continue;
    throw FormatError(file.string() + ": was trained on another base");
  }
  copy_into(critic_tensors(critic), read_safetensors(file), file.string());
}

}  // namespace

std::vector<std::pair<std::string, at::Tensor>> critic_tensors(const Critic& critic) {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  if (critic.adapter) tensors = critic.adapter->named_tensors();
  tensors.emplace_back("head", critic.head.weight);
  return tensors;
}

void save_critic(const std::filesystem::path& folder, const Critic& critic,
                 const std::string& base_model) {
  std::map<std::string, std::string> metadata = base_metadata(critic.decoder->identity());
  if (has_lora(critic)) {
    LoraConfig config = critic.adapter->config();
    config.task_type = TaskType::SEQ_CLS;
    config.modules_to_save = effective_modules_to_save(config);
    const std::vector<ModuleInfo> modules = modules_with_score(*critic.decoder);
    Adapter adapter = with_modules(*critic.adapter, config, modules);
    adapter.set_weight_copy(std::ssize(modules) - 1, critic.head.weight);
    save_adapter(folder, adapter, base_model, metadata);
    return;
  }
  std::filesystem::create_directories(folder);
  metadata.emplace("format", "pt");
  metadata.emplace(kKindKey, critic_kind(critic));
  write_safetensors(folder / kCriticFile, critic_tensors(critic), metadata);
}

void start_critic(const std::filesystem::path& folder, Critic& critic) {
  if (std::filesystem::exists(folder / "adapter_config.json")) {
    start_with_lora(folder, critic);
  } else {
    start_without_lora(folder, critic);
  }
}

}  // namespace leash
