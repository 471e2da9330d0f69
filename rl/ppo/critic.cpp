#include "rl/ppo/critic.h"

#include <fmt/format.h>

#include "models/decoder/start_adapter.h"
#include "models/errors.h"
#include "models/io/checkpoint.h"
#include "models/io/fingerprint.h"
#include "rl/policy/critic_files.h"
#include "rl/reference/second_model.h"

namespace leash {
namespace {

// A model whose every weight trains: copies of all modules that belong to the adapter.
Adapter full_copy(const Decoder& decoder) {
  Adapter adapter({}, decoder.modules());
  for (int64_t module = 0; module < static_cast<int64_t>(decoder.modules().size()); ++module) {
    const ModuleInfo& info = decoder.modules()[module];
    if (info.role == ModuleRole::lm_head) continue;  // a critic has no use for it
    adapter.set_weight_copy(module, trainable_leaf(decoder.base_value(module, /*bias=*/false)));
    if (info.has_bias)
      adapter.set_bias_copy(module, trainable_leaf(decoder.base_value(module, /*bias=*/true)));
  }
  return adapter;
}

// LoRA of the critic's own, in the policy's configuration.
Adapter critic_adapter(const LoraConfig& lora, const Decoder& decoder, uint64_t seed) {
  try {
    return fresh_adapter(lora, decoder, seed);
  } catch (const ConfigError& error) {
    throw ConfigError(fmt::format(
        "the critic's LoRA is configured as the policy's, which does not fit its model: {}; "
        "critic.kind: shared, or critic.train: head or all, need none",
        error.what()));
  }
}

// A sequence-classification checkpoint has a head of its own, which says how good a text is.
void start_at_score(const std::string& path, Critic& critic) {
  const Checkpoint checkpoint = open_checkpoint(resolve_model(path));
  if (!checkpoint.tensors->contains("score.weight")) return;
  const LinearHead head = LinearHead::load(checkpoint);
  if (head.weight.size(0) != 1) {
    throw FormatError(fmt::format(
        "critic.path: score.weight of {} has {} outputs, a critic has one: take a checkpoint with "
        "one, or one of a language model",
        checkpoint.path.string(), head.weight.size(0)));
  }
  critic.head.weight = trainable_leaf(head.weight.to(critic.decoder->device()));
}

}  // namespace

std::optional<Critic> make_critic(const PpoSetup& setup, const PolicyRoles& roles, Bases& bases,
                                  const std::shared_ptr<GatherQueue>& gathers) {
  const CriticConfig& config = setup.critic;
  const bool shared = config.kind == CriticKind::shared;
  const at::Device device = shared ? roles.decoder->device() : setup.devices.of(Role::critic);
  // The policy's: with lora.path, rank, alpha and targets are those of that adapter.
  const LoraConfig& lora = roles.policy.config();
  Critic critic{.kind = config.kind,
                .decoder = roles.decoder,
                .backprop_to_policy = config.backprop_to_policy};
  const uint64_t seed =
      static_cast<uint64_t>(setup.run.seed) + 1;  // other numbers than the policy's
  switch (config.kind) {
    case CriticKind::none:
      return std::nullopt;
    case CriticKind::shared:
      break;
    case CriticKind::adapter:
      critic.decoder = bases.on(device);
      critic.adapter = critic_adapter(lora, *critic.decoder, seed);
      break;
    case CriticKind::separate:
      critic.decoder = load_second_model(config.path.value_or(setup.model.path),
                                         {*roles.decoder, roles.tokenizer}, setup.model.quantize,
                                         device, gathers, "critic.path");
      if (config.train == CriticTrain::lora)
        critic.adapter = critic_adapter(lora, *critic.decoder, seed);
      if (config.train == CriticTrain::all) critic.adapter = full_copy(*critic.decoder);
      break;
  }
  critic.head =
      LinearHead::zeros(critic.decoder->config().hidden_size).to(critic.decoder->device());
  critic.head.weight = trainable_leaf(critic.head.weight);
  if (config.start) {
    start_critic(*config.start, critic);
  } else if (config.kind == CriticKind::separate) {
    start_at_score(config.path.value_or(setup.model.path), critic);
  }
  return critic;
}

PolicyRoles load_ppo_roles(const PpoSetup& setup, const std::shared_ptr<GatherQueue>& gathers) {
  PolicyRoles roles =
      load_policy_roles(setup, setup.ppo, gathers, [&](const PolicyRoles& loaded, Bases& bases) {
        return make_critic(setup, loaded, bases, gathers);
      });
  if (setup.critic.kind == CriticKind::separate) {
    roles.environment.others["critic"] =
        fingerprint(resolve_model(setup.critic.path.value_or(setup.model.path)));
  }
  return roles;
}

}  // namespace leash
