#include "rl/policy/memory.h"

#include <fmt/format.h>

#include <algorithm>

#include "rl/training/memory.h"

namespace leash {

std::vector<MemoryUse> memory_uses(const PolicyRoles& roles) {
  MemoryUses uses;
  uses.weights("policy", *roles.decoder);
  uses.weights("reference", *roles.reference.decoder);
  if (roles.critic) uses.weights("critic", *roles.critic->decoder);
  uses.add(trained_use("the policy's adapter, gradients and moments", roles.policy.parameters()));
  if (roles.critic) {
    uses.add(
        trained_use("what the critic trains, gradients and moments", roles.critic->parameters()));
  }
  if (roles.reward != nullptr) {
    for (MemoryUse& use : roles.reward->memory()) uses.add(std::move(use));
  }
  return uses.all();
}

std::vector<MemoryUse> memory_uses(const PolicyRoles& roles, const PolicySetup& setup,
                                   const std::vector<Prompt>& prompts) {
  std::vector<MemoryUse> uses = memory_uses(roles);
  const DecoderConfig& config = roles.decoder->config();
  int64_t longest = 0;
  for (const Prompt& prompt : prompts) longest = std::max<int64_t>(longest, std::ssize(prompt.ids));
  const int64_t sequences = std::min<int64_t>(setup.rollout.max_batch, std::ssize(prompts));
  const int64_t numbers = 2 * config.num_layers * config.num_kv_heads * config.head_dim;
  uses.push_back({.who = "keys and values of sampling",
                  .device = roles.decoder->device().str(),
                  .bytes = sequences * (longest + setup.rollout.response_length) * numbers *
                           static_cast<int64_t>(c10::elementSize(roles.decoder->dtype()))});
  return uses;
}

std::vector<std::string> settings_to_lower(const PolicySetup& setup, const std::string& rows,
                                           PolicyPhase phase) {
  std::vector<std::string> settings;
  switch (phase) {
    case PolicyPhase::sampling:
      settings = {fmt::format("rollout.max_batch ({})", setup.rollout.max_batch),
                  fmt::format("rollout.response_length ({})", setup.rollout.response_length)};
      break;
    case PolicyPhase::scoring:
      settings = {rows};
      break;
    case PolicyPhase::update:
      settings = {rows};
      if (!setup.model.gradient_checkpointing)
        settings.emplace_back("the kept activations with model.gradient_checkpointing: true");
  }
  if (setup.model.quantize == Quantize::none)
    settings.emplace_back("the weights' size with model.quantize: nf4");
  return settings;
}

}  // namespace leash
