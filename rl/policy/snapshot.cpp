#include "rl/policy/snapshot.h"

#include <nlohmann/json.hpp>

#include "models/errors.h"
#include "models/io/atomic_file.h"
#include "models/io/json_file.h"
#include "models/io/safetensors.h"
#include "models/lora/base_identity.h"
#include "models/lora/peft_adapter.h"
#include "rl/policy/critic_files.h"
#include "rl/run/snapshot_parts.h"

namespace leash {
namespace {

constexpr const char* kReferenceFile = "reference.safetensors";

// Optimizer states under "policy." and "critic.", as one list for one file.
NamedTensors with_prefix(const std::string& prefix, const NamedTensors& tensors) {
  NamedTensors named;
  for (const auto& [name, tensor] : tensors) named.emplace_back(prefix + name, tensor);
  return named;
}

NamedTensors without_prefix(const std::string& prefix, const NamedTensors& tensors) {
  NamedTensors named;
  for (const auto& [name, tensor] : tensors) {
    if (name.starts_with(prefix)) named.emplace_back(name.substr(prefix.size()), tensor);
  }
  return named;
}

nlohmann::ordered_json moments_json(const std::vector<RunningMoments>& moments) {
  auto list = nlohmann::ordered_json::array();
  for (const RunningMoments& one : moments) {
    list.push_back(
        {{"label", one.label}, {"count", one.count}, {"mean", one.mean}, {"squares", one.squares}});
  }
  return list;
}

// Those of a run from before 1 December 2026 are none.
std::vector<RunningMoments> saved_moments(const nlohmann::json& state, const std::string& origin) {
  std::vector<RunningMoments> moments;
  if (!state.contains("reward_moments")) return moments;
  for (const nlohmann::json& entry : state.at("reward_moments")) {
    RunningMoments one{.label = entry.at("label"),
                       .count = saved_count(entry, "count", origin),
                       .mean = entry.at("mean"),
                       .squares = entry.at("squares")};
    if (one.squares < 0) throw FormatError(origin + ": reward_moments: squares is negative");
    moments.push_back(std::move(one));
  }
  return moments;
}

}  // namespace

void write_policy_snapshot(const std::filesystem::path& folder, const PolicyState& state,
                           const PolicyRoles& roles, const PolicyOptimizers& optimizers) {
  save_adapter(folder, roles.policy, roles.checkpoint.path.string(),
               base_metadata(roles.decoder->identity()));
  if (roles.critic) {
    write_safetensors(folder / "critic.safetensors", critic_tensors(*roles.critic));
  }
  if (roles.reference.follows) {
    write_safetensors(folder / kReferenceFile, roles.reference.adapter->named_tensors());
  }
  NamedTensors moments = with_prefix("policy.", optimizers.policy.state());
  for (auto& entry : with_prefix("critic.", optimizers.critic.state()))
    moments.push_back(std::move(entry));
  write_safetensors(folder / "optimizer.safetensors", moments);
  nlohmann::ordered_json json = {
      {"step", state.step},
      {"prompts_consumed", state.prompts_consumed},
      {"episodes", state.episodes},
      {"kl_coef", state.kl_coef},
      {"best_step", state.best_step ? nlohmann::ordered_json(*state.best_step) : nullptr},
      {"best_reward", state.best_reward},
      {"reward_moments", moments_json(state.reward_moments)},
      {"environment", environment_json(roles.environment)}};
  write_text_file(folder / "state.json", json.dump(1));
}

void read_policy(const std::filesystem::path& folder, PolicyRoles& roles) {
  read_adapter_into(folder, roles.policy);
  if (!roles.reference.follows) return;
  copy_into(roles.reference.adapter->named_tensors(), read_safetensors(folder / kReferenceFile),
            (folder / kReferenceFile).string());
}

PolicyState read_policy_snapshot(const std::filesystem::path& folder, PolicyRoles& roles,
                                 PolicyOptimizers& optimizers, bool allow_inexact,
                                 Console& console) {
  const nlohmann::json json = read_json_file(folder / "state.json");
  const std::string origin = (folder / "state.json").string();
  PolicyState state;
  try {
    check_environment(json.at("environment"), roles.environment, allow_inexact, console);
    state.step = saved_step(json, folder);
    state.prompts_consumed = saved_count(json, "prompts_consumed", origin);
    // Until 30 November 2026 each prompt had one answer.
    state.episodes =
        json.contains("episodes") ? saved_count(json, "episodes", origin) : state.prompts_consumed;
    state.kl_coef = json.at("kl_coef");
    if (!json.at("best_step").is_null())
      state.best_step = saved_count(json, "best_step", origin, state.step);
    state.best_reward = json.at("best_reward");
    state.reward_moments = saved_moments(json, origin);
  } catch (const nlohmann::json::exception& error) {
    throw FormatError(origin + ": " + error.what());
  }
  read_policy(folder, roles);
  if (roles.critic) {
    copy_into(critic_tensors(*roles.critic), read_safetensors(folder / "critic.safetensors"),
              folder.string());
  }
  const NamedTensors moments = read_safetensors(folder / "optimizer.safetensors");
  optimizers.policy.load_state(without_prefix("policy.", moments));
  optimizers.critic.load_state(without_prefix("critic.", moments));
  return state;
}

}  // namespace leash
